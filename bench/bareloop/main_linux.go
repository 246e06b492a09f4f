package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	n := flag.Int("n", 1, "copies of the program")
	flag.Parse()
	if flag.NArg() < 1 || *n < 1 {
		fmt.Fprintln(os.Stderr, "usage: bareloop [-n N] PROGRAM [ARG...]")
		os.Exit(2)
	}
	if err := loop(*n, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "bareloop: %s: %v\n", flag.Arg(0), err)
		os.Exit(1)
	}
}

// loop keeps n copies of the program alive.
func loop(n int, argv []string) error {
	pids, watch := make([]int, n), make([]unix.PollFd, n)
	for i := range n {
		if err := start(argv, &pids[i], &watch[i]); err != nil {
			return err
		}
	}
	for {
		if _, err := unix.Poll(watch, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return err
		}
		for i := range n {
			if watch[i].Revents == 0 {
				continue
			}
			if _, err := syscall.Wait4(pids[i], nil, 0, nil); err != nil {
				return err
			}
			if err := unix.Close(int(watch[i].Fd)); err != nil {
				return err
			}
			if err := start(argv, &pids[i], &watch[i]); err != nil {
				return err
			}
		}
	}
}

// start begins one life.
func start(argv []string, pid *int, watch *unix.PollFd) (err error) {
	var pidfd int
	*pid, err = syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{PidFD: &pidfd, Setsid: true},
	})
	*watch = unix.PollFd{Fd: int32(pidfd), Events: unix.POLLIN}
	return err
}
