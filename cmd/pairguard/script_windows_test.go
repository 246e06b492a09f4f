package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/pairguard/pairguard/internal/proc"
)

var scriptSignals = map[string]os.Signal{
	"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "STOP": proc.FreezeSignal, "CONT": proc.ThawSignal,
}

// plainPeer is played by the tests of whole pairs: qt:NAME is a pipe here.
func plainPeer() {
	fmt.Fprintln(os.Stderr, "no plain peer here")
	os.Exit(1)
}
