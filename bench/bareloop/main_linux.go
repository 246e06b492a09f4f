package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: bareloop PROGRAM [ARG...]")
		os.Exit(2)
	}
	for {
		if err := life(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "bareloop: %s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
	}
}

// life is one life of the program.
func life(argv []string) error {
	var pidfd int
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{PidFD: &pidfd, Setsid: true},
	})
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	watch := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(watch, -1)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	_, err = syscall.Wait4(pid, nil, 0, nil)
	return err
}
