package pairdir

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { roles["nospace"] = playNoSpace }

// fullDisk returns a folder on a small file system of its own.
func fullDisk(t *testing.T) *Dir {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	base, err := os.MkdirTemp("", "pg")
	mustDo(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if err := unix.Mount("pairdir", base, "tmpfs", 0, "size=128k,mode=700"); err != nil {
		t.Skip("cannot mount:", err)
	}
	t.Cleanup(func() { mustDo(t, unix.Unmount(base, unix.MNT_DETACH)) })
	d, err := Open(filepath.Join(base, "d"))
	mustDo(t, err)
	return d
}

// fill leaves not one byte of space.
func fill(t *testing.T, d *Dir) (path string) {
	t.Helper()
	path = filepath.Join(filepath.Dir(d.Path()), "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	mustDo(t, err)
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			return path
		}
	}
}

func TestGoodbyesOnAFullDisk(t *testing.T) {
	d := fullDisk(t)
	a, b, other := d.mustName(t, "procA"), d.mustName(t, "procB"), d.mustName(t, "other")
	c := mustClaim(t, d, a)
	l, err := d.BeginLife(a, b, "")
	mustDo(t, err)
	log, err := d.OpenLog(a)
	mustDo(t, err)
	defer log.Close()
	ballast := fill(t, d)

	if err := log.Append(Record{Time: l.Started, Event: "x"}); err == nil || log.Lost() != 1 {
		t.Errorf("an event is lost in silence: %v, %d", err, log.Lost())
	}
	mustDo(t, d.StoreLeave(a, Goodbye{Name: "procA", Reason: "sigterm"}))
	if g, left, err := d.ReadLeave(a); !left || err != nil || g.Damaged != nil || g.Reason != "sigterm" || g.Generation != l.Generation {
		t.Errorf("leave: %+v %v %v", g, left, err)
	}
	mustDo(t, d.StoreStop(b, a, Goodbye{Name: "procA", Reason: "first"}))
	for i := range 10 { // what is replaced pays for the next one
		fill(t, d) // somebody else takes whatever gets free
		want := fmt.Sprint("again ", i)
		mustDo(t, d.StoreStop(a, b, Goodbye{Name: "procA", Reason: want}))
		if g, stopped, err := d.ReadStop(a, b); !stopped || err != nil || g.Reason != want {
			t.Fatalf("stop: %+v %v %v", g, stopped, err)
		}
	}
	next, err := d.BeginLife(a, b, "token")
	mustDo(t, err)
	if read, _, err := d.ReadLife(a); err != nil || read.Generation != next.Generation || next.Generation != l.Generation+1 {
		t.Errorf("life: %+v %v", read, err)
	}
	// A name without a reserve: a clear error, and what was there stays.
	fill(t, d) // the leave is gone and its space is free
	wantError(t, "no reserve", d.StoreHold(other, 1e9, ""), "no space left", "other.hold", "make room")
	if left, _, err := d.ReadHold(other); left > 0 || err != nil {
		t.Error("half a hold", err)
	}
	mustDo(t, os.Remove(ballast))
	if _, err := c.Check(); err != nil {
		t.Error(err)
	}
	for i := range reserves {
		if info, err := os.Stat(d.reserve(a.key, i)); err != nil || info.Size() != recordRoom {
			t.Errorf("reserve %d is not filled again: %v", i, err)
		}
	}
}

// Claiming on a disk that is full already works, as the lock file has no content.
func TestClaimOnAFullDisk(t *testing.T) {
	d := fullDisk(t)
	fill(t, d)
	a := d.mustName(t, "procA")
	c := mustClaim(t, d, a)
	wantError(t, "no room and no reserve", d.StoreLeave(a, Goodbye{}), "no space left", "old one is kept")
	if _, left, err := d.ReadLeave(a); left || err != nil {
		t.Errorf("announced what failed: %v", err)
	}
	if _, err := c.Check(); err != nil {
		t.Error(err)
	}
}

// playNoSpace DIR: nothing can be written at all, not even to existing blocks.
func playNoSpace(args []string) {
	signal.Ignore(syscall.SIGXFSZ)
	d, err := Open(args[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	n, _ := d.Name("procA")
	c, err := d.Claim(n)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{})
	err = d.StoreLeave(n, Goodbye{Reason: "new"})
	_, checked := c.Check()
	fmt.Println("result", err, checked)
}

func TestNothingCanBeWritten(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	mustDo(t, d.StoreLeave(n, Goodbye{Reason: "old"}))
	k := start(t, nil, "nospace", d.Path())
	k.want("a limit on file sizes", "result record "+d.file(n, ".leave")+": cannot be stored")
	if g, left, err := d.ReadLeave(n); !left || err != nil || g.Reason != "old" {
		t.Errorf("%+v %v %v", g, left, err)
	}
}
