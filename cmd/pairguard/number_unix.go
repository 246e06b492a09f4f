//go:build unix

package main

import "golang.org/x/sys/unix"

// signalNumber is that of a signal by its name without SIG; 0: there is none.
func signalNumber(name string) int { return int(unix.SignalNum("SIG" + name)) }
