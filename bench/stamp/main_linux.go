package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// born is taken while the package is initialized, before anything else of it runs.
var born = monotonic()

func monotonic() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return now.Nano()
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: stamp PIPE")
		os.Exit(2)
	}
	pipe, err := os.OpenFile(os.Args[1], os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintf(pipe, "%d %d\n", os.Getpid(), born)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stamp:", err)
		os.Exit(1)
	}
	pipe.Close()
	for {
		_ = unix.Pause()
	}
}
