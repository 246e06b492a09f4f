package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// bigPeer is how much memory the big peer touches, in bytes.
const bigPeer = 1 << 30

// The kernel takes its time to tear a big process down; nothing may be started
// before that is over.
func TestBigPeer(t *testing.T) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil || uint64(info.Freeram)*uint64(info.Unit) < 3*bigPeer {
		t.Skip("there is not enough memory")
	}
	tr := newTrial(t)
	p := tr.oddGuards("big")
	tr.must(p.AwaitUp(tr.ctx))
	tr.exists(filepath.Join(tr.Dir, "touched"))
	away, err := p.Replace(tr.ctx, "procB", syscall.SIGKILL)
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	t.Logf("away for %v", away)
	if away > stage.AwayLimit {
		t.Errorf("away for %v", away)
	}
	tr.stopped(p)
}

// A child that the host program forked right before its death has all its
// descriptors: links that do not end, a socket that listens, the abstract socket
// of the name. The proof of death does not need them, and neither does the
// successor.
func TestForkedChildOutlivesThePeer(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.oddGuards("forks", "--backoff", "0")
	tr.must(p.AwaitUp(tr.ctx))
	old := p.Observer.Holder("procB")
	tr.must(syscall.Kill(old, syscall.SIGUSR1))
	child := tr.number(filepath.Join(tr.Dir, "forked"))
	ended := false
	defer func() {
		if !ended {
			syscall.Kill(child, syscall.SIGKILL)
		}
	}()
	away, err := p.Replace(tr.ctx, "procB", syscall.SIGKILL)
	tr.must(err)
	t.Logf("away for %v", away)
	if away > stage.AwayLimit {
		t.Errorf("away for %v", away)
	}
	// The successor says what it lacks, and has it as soon as the child is gone.
	tr.event("the successor goes on without", func(e pairguard.Event) bool {
		return saw("procB", pairguard.Listening)(e) && strings.Contains(e.Reason, "abstract socket")
	})
	tr.must(syscall.Kill(child, syscall.SIGKILL))
	ended = true
	tr.event("and has it again", func(e pairguard.Event) bool {
		return saw("procB", pairguard.Listening)(e) && strings.Contains(e.Reason, "held again")
	})
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}

// number waits for a file with a number in it.
func (t *trial) number(file string) int {
	t.Helper()
	n, err := strconv.Atoi(t.text(file))
	t.must(err)
	return n
}

// text waits for a file and reads it.
func (t *trial) text(file string) string {
	t.Helper()
	t.exists(file)
	text, err := os.ReadFile(file)
	t.must(err)
	return string(text)
}

// A thread of the peer waits for a file system that does not answer: the kernel
// cannot end the process (state D). Nothing is started beside it, and that is
// said; when it is gone at last, it is back.
func TestPeerInStateD(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about 10 s")
	}
	t.Parallel()
	tr := newTrial(t)
	silent := newSilentDisk(t, filepath.Join(tr.Root, "silent"))
	p := tr.oddGuards("blocks", "--backoff", "0", "--unsure-limit", "3s")
	tr.must(p.AwaitUp(tr.ctx))
	old := p.Observer.Holder("procB")
	tr.must(syscall.Kill(old, syscall.SIGUSR1))
	select {
	case <-silent.asked:
	case <-tr.ctx.Done():
		t.Fatal("the file system was never asked")
	}
	tr.must(syscall.Kill(old, syscall.SIGKILL))
	said := tr.event("it is said that it does not end", func(e pairguard.Event) bool {
		return e.Self == "procA" && e.PeerPID == old && (e.Kind == pairguard.PeerFailed || e.Kind == pairguard.PeerHung) && strings.Contains(e.Reason, "kernel")
	})
	t.Log(said.Reason)
	tr.remains("nobody beside it", unchanged, func(now []stage.Process) bool {
		return p.Observer.Holder("procB") == old || p.Observer.Holder("procB") == 0
	})
	if n := tr.count(saw("procA", pairguard.PeerStarted)); n != 1 {
		t.Errorf("%d were started", n)
	}
	silent.end()
	_, err := p.Observer.AwaitHolder(tr.ctx, "procB", old)
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}

// silentDisk is a FUSE file system that takes requests and never answers.
type silentDisk struct {
	device *os.File
	at     string
	asked  chan struct{} // closed at the first request for a file
	ended  bool
}

func newSilentDisk(t *testing.T, at string) *silentDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a file system")
	}
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	// Blocking, so that a read takes a thread of its own until the device is closed.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("there is no FUSE:", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := unix.Mount("silent", at, "fuse", 0, options); err != nil {
		unix.Close(fd)
		t.Skip("cannot mount:", err)
	}
	d := &silentDisk{device: os.NewFile(uintptr(fd), "/dev/fuse"), at: at, asked: make(chan struct{})}
	t.Cleanup(d.end)
	if err := d.begin(); err != nil {
		t.Fatal(err)
	}
	go func() {
		request := make([]byte, 1<<17)
		if _, err := d.device.Read(request); err == nil {
			close(d.asked)
		}
	}()
	return d
}

// begin answers the kernel's first request, FUSE_INIT (linux/fuse.h).
func (d *silentDisk) begin() error {
	request := make([]byte, 1<<17)
	n, err := d.device.Read(request)
	if err != nil {
		return err
	}
	const header, initOpcode = 40, 26
	if n < header || binary.NativeEndian.Uint32(request[4:]) != initOpcode {
		return errors.New("the first request is not FUSE_INIT")
	}
	answer := make([]byte, 16+64)
	binary.NativeEndian.PutUint32(answer, uint32(len(answer)))
	copy(answer[8:16], request[8:16]) // which request is answered
	binary.NativeEndian.PutUint32(answer[16:], 7)
	binary.NativeEndian.PutUint32(answer[20:], 31)
	binary.NativeEndian.PutUint32(answer[36:], 4096) // max_write
	_, err = d.device.Write(answer)
	return err
}

// end makes every request fail: whoever waits may go.
func (d *silentDisk) end() {
	if d.ended {
		return
	}
	d.ended = true
	unix.Unmount(d.at, unix.MNT_FORCE|unix.MNT_DETACH)
	d.device.Close()
}

// Two versions of the protocol in one pair: the other one is told what to do, and
// is neither taken for hung nor started a second time.
func TestTwoVersionsOfTheProtocol(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.oddGuards("version2", "--start-timeout", "300ms")
	answer := tr.text(filepath.Join(tr.Root, "answer"))
	if !strings.HasPrefix(answer, "REFUSED reason=") || !strings.Contains(answer, "version") {
		t.Errorf("the other version is answered %q", answer)
	}
	tr.event("it is said", func(e pairguard.Event) bool {
		return saw("procA", pairguard.PeerFailed)(e) && strings.Contains(e.Reason, "version")
	})
	b := p.Observer.Holder("procB")
	tr.remains("both as they are", pairguard.DefaultTimeout+time.Second, func(now []stage.Process) bool {
		return len(now) == 2 && has(now, p.First.PID()) && has(now, b)
	})
	tr.stopped(p)
}

func has(now []stage.Process, pid int) bool {
	for _, p := range now {
		if p.PID == pid {
			return true
		}
	}
	return false
}
