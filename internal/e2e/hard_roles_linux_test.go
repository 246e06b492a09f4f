package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
	"github.com/pairguard/pairguard/internal/pairdir"
)

// The test binary runs again as a member that does odd things:
//
//	role ODDITY SELF PEER FOLDER PAIRGUARD
//
// Its peer is a guard that starts it again in the same role.
const role = "role"

// roleLimit ends a member of a test that has gone, whatever happens.
const roleLimit = 3 * time.Minute

func init() {
	if len(os.Args) != 7 || os.Args[1] != role {
		return
	}
	time.AfterFunc(roleLimit, func() { os.Exit(98) })
	if err := play(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// oddGuards starts a guard procA whose peer procB is a member in a role.
func (t *trial) oddGuards(oddity string, flags ...string) *stage.Pair {
	t.Helper()
	p := t.pair("procA", "procB")
	p.First = t.guard("procA", "procB", append(flags, append([]string{"--"}, t.oddCommand(oddity)...)...)...)
	return p
}

func (t *trial) oddCommand(oddity string) []string {
	t.Helper()
	self, err := os.Executable()
	t.must(err)
	return []string{self, role, oddity, "procB", "procA", t.Dir, t.Binary}
}

func play(oddity, self, peer, folder, binary string) error {
	switch oddity {
	case "big":
		go touch(filepath.Join(folder, "touched"))
	case "forks":
		go onUSR1(func() error { return fork(filepath.Join(folder, "forked")) })
	case "blocks":
		// The read of a file system that does not answer takes one thread.
		go onUSR1(func() error { _, err := os.Stat(filepath.Join(filepath.Dir(folder), "silent", "file")); return err })
	case "version2":
		return playVersion2(self, folder)
	}
	m, err := pairguard.New(pairguard.Config{
		Self: self, Peer: peer, Dir: folder, Backoff: -1,
		Command: append([]string{binary, "guard", peer, self, "--dir", folder, "--"}, os.Args...),
	})
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	return m.Run(ctx)
}

// touch makes us big for the rest of our life and says so with a file.
func touch(file string) error {
	if _, err := syscall.Mmap(-1, 0, bigPeer, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_POPULATE); err != nil {
		return err
	}
	return os.WriteFile(file, nil, 0o600)
}

func onUSR1(do func() error) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	<-asked
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// fork makes a child that shares nothing with us but every descriptor, as a host
// program in C may do at any time, and leaves its number in a file. The child
// waits for a signal.
func fork(file string) error {
	runtime.LockOSThread()
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	for pid == 0 {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
	temporary := file + ".new"
	if err := os.WriteFile(temporary, []byte(strconv.Itoa(int(pid))), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}

// playVersion2 holds its name as it should, but speaks another version of the
// protocol. What it is answered goes to a file.
func playVersion2(self, folder string) error {
	dir, err := pairdir.Open(folder)
	if err != nil {
		return err
	}
	name, err := dir.Name(self)
	if err != nil {
		return err
	}
	claim, err := dir.Claim(name)
	if err != nil {
		return err
	}
	defer claim.Release()
	conn, err := net.Dial("unix", filepath.Join(folder, "procA.sock"))
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HELLO 2 self=%s peer=procA pid=%d gen=1 heartbeat_ms=1000 health=ok colour=blue\n", self, os.Getpid())
	conn.SetReadDeadline(time.Now().Add(stage.Patience))
	answer := make([]byte, 600)
	n, err := conn.Read(answer)
	if err != nil && err != io.EOF {
		return err
	}
	file := filepath.Join(filepath.Dir(folder), "answer")
	if err := os.WriteFile(file+".new", answer[:n], 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	return nil
}
