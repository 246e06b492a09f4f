package e2e

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// A folder that somebody else could use is refused in one line that says how to
// mend it, and nothing in it is touched.
func TestFolderThatIsNotOurs(t *testing.T) {
	for _, c := range []struct {
		what string
		make func(dir string) error
		says string
	}{
		{"world-writable", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) }, "chmod 700"},
		{"others may enter", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o755)) }, "chmod 700"},
		{"a link", func(dir string) error { return errors.Join(os.Mkdir(dir+"2", 0o700), os.Symlink(dir+"2", dir)) }, "symbolic link"},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "not a directory"},
		{"somebody else's", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody)) }, "belongs to user 65534"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			if err := c.make(tr.Dir); errors.Is(err, os.ErrPermission) {
				t.Skip("needs root:", err)
			} else if err != nil {
				t.Fatal(err)
			}
			a := tr.guard("procA", "procB")
			tr.ended(a, 1)
			if said := a.Stderr(); !strings.Contains(said, c.says) || !strings.Contains(said, tr.Dir) || strings.Contains(said, "\n") {
				t.Errorf("it said %q", said)
			}
			if inside, err := os.ReadDir(tr.Dir); len(inside) > 0 {
				t.Errorf("it left %v (%v)", inside, err)
			}
		})
	}
}

// disk mounts a small file system where the folder is going to be.
func (t *trial) disk() (at string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a file system")
	}
	at = filepath.Dir(t.Dir)
	t.must(os.Mkdir(at, 0o700))
	if err := unix.Mount("pairguard", at, "tmpfs", 0, "size=256k,mode=700"); err != nil {
		t.Skip("cannot mount:", err)
	}
	// Before the stage is closed, which removes everything below it.
	t.Cleanup(func() { t.must(unix.Unmount(at, unix.MNT_DETACH)) })
	return at
}

func newTrialOnADisk(t *testing.T) (tr *trial, disk string) {
	t.Helper()
	tr = newTrialIn(t, command("pairguard"), "disk/pairs")
	return tr, tr.disk()
}

// A full disk keeps nobody down: who is killed comes back, and the goodbyes of the
// stop find the space that was set aside for them.
func TestFolderOnAFullDisk(t *testing.T) {
	t.Parallel()
	tr, disk := newTrialOnADisk(t)
	p := tr.guards("procA", "procB", "--backoff", "0")
	tr.fill(filepath.Join(disk, "ballast"))
	_, err := p.KillInTurn(tr.ctx, 4, syscall.SIGKILL)
	tr.must(err)
	tr.must(p.AwaitTwo(tr.ctx))
	tr.stopped(p)
	tr.remains("nothing comes back", unchanged, none)
}

func (t *trial) fill(path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	t.must(err)
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			return
		}
	}
}

// In a folder that has become read-only nobody can take a name: that is said, it
// is tried again, and goes on when the folder is writable again.
func TestFolderBecomesReadOnly(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB", "--backoff", "50ms", "--backoff-max", "100ms")
	a := p.Observer.Holder("procA")
	writable := tr.readOnly()
	old := tr.kill(p, "procB")
	tr.must(stage.AwaitGone(tr.ctx, old))
	tr.must(tr.AwaitProcesses(tr.ctx, "it is said", func([]stage.Process) bool {
		return strings.Contains(p.First.Stdout(), string(pairguard.PeerFailed))
	}))
	tr.remains("its guard goes on", unchanged, func(now []stage.Process) bool { return has(now, a) })
	if b := p.Observer.Holder("procB"); b != 0 {
		t.Errorf("process %d holds procB in a folder that cannot be written", b)
	}
	second := tr.guard("procC", "procD")
	tr.ended(second, 1)
	if said := second.Stderr(); !strings.Contains(said, "read-only") || strings.Contains(said, "\n") {
		t.Errorf("it said %q", said)
	}
	writable()
	_, err := p.Observer.AwaitHolder(tr.ctx, "procB", old)
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}

// readOnly lays the folder over itself, read-only: what is open stays as it is.
func (t *trial) readOnly() (writable func()) {
	t.Helper()
	if err := unix.Mount(t.Dir, t.Dir, "", unix.MS_BIND, ""); err != nil {
		t.Skip("cannot mount:", err)
	}
	var once sync.Once
	writable = func() { once.Do(func() { t.must(unix.Unmount(t.Dir, unix.MNT_DETACH)) }) }
	t.Cleanup(writable)
	t.must(unix.Mount("", t.Dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	return writable
}

// The socket that a dead one left is removed by the next holder of its name; what
// is not a socket is not.
func TestStaleSocketOfTheDead(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	tr.must(os.Mkdir(tr.Dir, 0o700))
	path := filepath.Join(tr.Dir, "procA.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	tr.must(err)
	l.SetUnlinkOnClose(false)
	tr.must(l.Close())
	p := tr.guards("procA", "procB")
	tr.stopped(p)
	tr.must(os.WriteFile(path, []byte("precious"), 0o600))
	a := tr.guard("procA", "procB")
	tr.ended(a, 1)
	if said := a.Stderr(); !strings.Contains(said, path) || strings.Contains(said, "\n") {
		t.Errorf("it said %q", said)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file is %q (%v)", text, err)
	}
}

func TestPathTooLong(t *testing.T) {
	t.Parallel()
	tr := newTrialIn(t, command("pairguard"), strings.Repeat("long", 25))
	a := tr.guard("procA", "procB")
	tr.ended(a, 2)
	if said := a.Stderr(); !strings.Contains(said, "107") || !strings.Contains(said, "shorter") || strings.Contains(said, "\n") {
		t.Errorf("it said %q", said)
	}
}

// Garbage in every kind of file that a pair keeps: nobody is kept down by it, and
// it is said. A goodbye is the exception: that it is there is what counts.
func TestDamagedFiles(t *testing.T) {
	for _, damage := range []struct{ name, text string }{
		{"cut short", `{"version":1,"na`}, {"empty", ""}, {"noise", "\x00\xff\xfe{]\n\x1b[2J"}, {"another version", `{"version":99,"name":"procB"}` + "\n"},
	} {
		t.Run(damage.name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			p := tr.guards("procA", "procB", "--backoff", "0")
			for _, file := range []string{".life", ".spawn", ".hold", ".events.jsonl", ".events.1.jsonl", ".log", ".lock"} {
				for _, name := range []string{"procA", "procB"} {
					f, err := os.OpenFile(filepath.Join(tr.Dir, name+file), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
					tr.must(err)
					_, err = f.WriteString(damage.text)
					tr.must(errors.Join(err, f.Close()))
				}
			}
			_, err := p.KillInTurn(tr.ctx, 4, syscall.SIGKILL)
			tr.must(err)
			tr.must(p.AwaitUp(tr.ctx))
			tr.stopped(p)
			tr.damagedGoodbyes(p, damage.text)
		})
	}
}

func (t *trial) damagedGoodbyes(p *stage.Pair, text string) {
	t.Helper()
	t.must(os.WriteFile(filepath.Join(t.Dir, "stop.procA+procB"), []byte(text), 0o600))
	t.must(os.WriteFile(filepath.Join(t.Dir, "procB.leave"), []byte(text), 0o600))
	a := t.guard("procA", "procB") // a person: the stop is over; procB's leave is not
	t.must(t.AwaitProcesses(t.ctx, "it says what it cannot read", func([]stage.Process) bool {
		return strings.Contains(a.Stdout(), "procB.leave")
	}))
	t.remains("procA alone", pairguard.DefaultHeartbeat+unchanged, only(a.PID()))
	t.guard("procB", "procA")
	t.must(p.AwaitUp(t.ctx))
	t.stopped(p)
}
