package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard"
)

// member is one of the pair: "SELF PEER FOLDER KIND...". It beats from its main
// loop and has a check beside it. A file DIR/deadlock-SELF makes the check hang,
// DIR/spin-SELF the main loop turn on the spot, once; DIR is the working directory.
// The kinds: "busy" computes all the time, "threads" has ten threads that wait,
// "dump" asks for a dump of a hung peer, "beat" has no check, "check" no Beat.
func member(args []string) int {
	self, peer, dir, kinds := args[0], args[1], args[2], args[3:]
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	is := func(kind string) bool { return strings.Contains(" "+strings.Join(kinds, " ")+" ", " "+kind+" ") }
	cfg := pairguard.Config{
		Self: self, Peer: peer, Dir: dir, Dump: is("dump"),
		Command: append([]string{exe, "member", peer, self, dir}, kinds...),
	}
	if !is("beat") {
		cfg.Healthy = hangWhen("deadlock-" + self)
	}
	m, err := pairguard.New(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if is("busy") {
		go spin()
	}
	for range 10 {
		if is("threads") {
			go func() { runtime.LockOSThread(); syscall.Pause() }()
		}
	}
	if !is("check") {
		go mainLoop(m, self)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if err := m.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// mainLoop is a loop that does its work and says so, until a file tells it otherwise.
func mainLoop(m *pairguard.Member, self string) {
	m.Beat() // from the first call on heartbeats follow the loop
	for range time.Tick(100 * time.Millisecond) {
		if taken("spin-" + self) {
			spin()
		}
		if taken("sleep-" + self) {
			sleep()
		}
		m.Beat()
	}
}

// sleep puts all threads to sleep, with everything that the process holds: locks,
// links, the listener. A deadlocked C program looks like this; a Go program can
// only by becoming another one.
func sleep() {
	files, _ := os.ReadDir("/proc/self/fd")
	for _, f := range files {
		if fd, _ := strconv.Atoi(f.Name()); fd > 2 {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
	}
	err := syscall.Exec("/bin/sleep", []string{"sleep", "100000"}, os.Environ())
	fmt.Fprintln(os.Stderr, "sleep:", err)
}

func hangWhen(file string) func(context.Context) error {
	return func(context.Context) error {
		if taken(file) {
			select {}
		}
		return nil
	}
}

// taken reports whether the file is there, and removes it: the next life is sound.
func taken(file string) bool { return os.Remove(file) == nil }

// spin has a frame of its own in a dump: a test looks for it.
//
//go:noinline
func spin() {
	for x := uint(1); x != 0; x |= 1 { // never ends
	}
}

// hang makes the check or the main loop of a name hang, below root.
func hang(root, kind, name string) error {
	return os.WriteFile(filepath.Join(root, kind+"-"+name), nil, 0o600)
}
