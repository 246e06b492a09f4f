// Command procB is one of two programs that keep each other alive. Ctrl-C and
// SIGTERM are a leave: this one goes, and is not brought back.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/pairguard/pairguard"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := pairguard.Guard(ctx, "procB", "procA", "./procA"); err != nil {
		log.Fatal(err)
	}
}
