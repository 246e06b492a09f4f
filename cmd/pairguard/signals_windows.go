package main

import (
	"errors"
	"os"

	"github.com/pairguard/pairguard/internal/proc"
)

// Windows has no job control: nothing suspends a process from the keyboard.
var suspendSignals []os.Signal

// freezeSignal stops a process that is not asked: what the demo hangs a peer with.
var freezeSignal os.Signal = proc.FreezeSignal

// termReason is what the Go runtime reports as SIGTERM.
const termReason = "the console was closed, or the session ends"

func isSuspend(os.Signal) bool { return false }
func isResume(os.Signal) bool  { return false }

func stopSelf() error { return errors.ErrUnsupported }
