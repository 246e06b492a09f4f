package main

import (
	"errors"
	"os"
)

// Windows has no job control: nothing suspends a process from the keyboard.
var suspendSignals []os.Signal

// freezeSignal is nil where no signal stops a process.
var freezeSignal os.Signal

func isSuspend(os.Signal) bool { return false }
func isResume(os.Signal) bool  { return false }

func stopSelf() error { return errors.ErrUnsupported }
