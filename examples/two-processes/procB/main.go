// Command procB is one of two programs that keep each other alive.
package main

import (
	"context"
	"log"

	"github.com/pairguard/pairguard"
)

func main() {
	if err := pairguard.Guard(context.Background(), "procB", "procA", "./procA"); err != nil {
		log.Fatal(err)
	}
}
