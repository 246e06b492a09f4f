// Command procA is one of two programs that keep each other alive.
package main

import (
	"context"
	"log"

	"github.com/pairguard/pairguard"
)

func main() {
	if err := pairguard.Guard(context.Background(), "procA", "procB", "./procB"); err != nil {
		log.Fatal(err)
	}
}
