package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Relies on proc(5): /proc/PID/stat fields 3 (state), 20 (threads), 22 (start
// time, clock ticks since boot), 52 (exit code as from wait(2); 0 when the reader
// may not trace the process). boot_id: random(4). A /proc with hidepid hides
// other users' processes only. A time namespace shifts field 22.

// stat is what /proc/PID/stat says of a process.
type stat struct {
	state    byte
	threads  int
	start    uint64
	exitCode int // wait status; meaningful in a zombie, see zombieStatus
}

// dead reports whether the whole process has ended. A leader that ended before
// its other threads is a zombie, too, but its process lives.
func (s stat) dead() bool {
	return s.state == 'X' || s.state == 'x' || s.state == 'Z' && s.threads <= 1
}

// readStat reads /proc/PID/stat; ErrGone when there is no such process (or, with
// hidepid, none that we may see).
func readStat(pid int) (stat, error) {
	return readStatFile("/proc/" + strconv.Itoa(pid) + "/stat")
}

// readStatFile uses plain calls, not os.File, which would offer each of these
// short-lived descriptors to the poller.
func readStatFile(name string) (stat, error) {
	var buf [1024]byte
	fd, err := retry(func() (int, error) { return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return stat{}, statError(name, err)
	}
	defer unix.Close(fd)
	n, err := retry(func() (int, error) { return unix.Read(fd, buf[:]) })
	if err != nil {
		return stat{}, statError(name, err)
	}
	return parseStat(buf[:n])
}

func statError(name string, err error) error {
	if err == unix.ENOENT || err == unix.ESRCH {
		return ErrGone
	}
	return fmt.Errorf("cannot read %s: %w", name, err)
}

// parseStat takes the fields after the last ')': the command before it may
// contain anything.
func parseStat(b []byte) (stat, error) {
	var s stat
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return s, fmt.Errorf("cannot understand /proc/PID/stat: %q", b)
	}
	field := 2
	var err error
	for f := range bytes.FieldsSeq(b[i+1:]) {
		field++
		switch field {
		case 3:
			s.state = f[0]
		case 20:
			s.threads, err = strconv.Atoi(string(f))
		case 22:
			s.start, err = strconv.ParseUint(string(f), 10, 64)
		case 52:
			s.exitCode, err = strconv.Atoi(string(f))
		}
		if err != nil {
			return s, fmt.Errorf("cannot understand field %d of /proc/PID/stat: %w", field, err)
		}
	}
	if field < 22 {
		return s, fmt.Errorf("cannot understand /proc/PID/stat: it has only %d fields", field)
	}
	return s, nil
}

// here is what all IDs made by this process have in common.
var here = sync.OnceValues(func() (ID, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ID{}, fmt.Errorf("cannot tell one boot from the next: %w (is /proc mounted?)", err)
	}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &ns); err != nil {
		return ID{}, fmt.Errorf("cannot tell the PID namespace: /proc/self/ns/pid: %w (is /proc mounted?)", err)
	}
	return ID{BootID: string(bytes.TrimSpace(boot)), PIDNamespace: ns.Ino}, nil
})

// Self returns the ID of this process.
func Self() (ID, error) { return self() }

var self = sync.OnceValues(func() (ID, error) {
	id, err := here()
	if err != nil {
		return ID{}, err
	}
	// A /proc of another PID namespace would tell about other processes.
	if link, err := os.Readlink("/proc/self"); err != nil || link != strconv.Itoa(os.Getpid()) {
		return ID{}, fmt.Errorf("/proc belongs to another PID namespace (it calls process %d %q): mount a proc of this one", os.Getpid(), link)
	}
	s, err := readStat(os.Getpid())
	if err != nil {
		return ID{}, err
	}
	id.PID, id.Start = os.Getpid(), s.start
	return id, nil
})

// retry repeats a system call that a signal interrupted.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return v, err
		}
	}
}
