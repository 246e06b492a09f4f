//go:build unix

package main

import (
	"os"
	"syscall"
)

// suspendSignals are what Ctrl-Z sends, and what ends that.
var suspendSignals = []os.Signal{syscall.SIGTSTP, syscall.SIGCONT}

// freezeSignal stops a process that is not asked: what the demo hangs a peer with.
var freezeSignal os.Signal = syscall.SIGSTOP

// termReason is what a SIGTERM is called in goodbyes.
const termReason = "SIGTERM"

func isSuspend(s os.Signal) bool { return s == syscall.SIGTSTP }
func isResume(s os.Signal) bool  { return s == syscall.SIGCONT }

// stopSelf stops the whole process until SIGCONT.
func stopSelf() error { return syscall.Kill(os.Getpid(), syscall.SIGSTOP) }
