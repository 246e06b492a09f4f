package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// newOpenTrial is a trial whose root everybody may enter, as a home folder often
// is: what protects the pair must be its own folder.
func newOpenTrial(t *testing.T, folder string) *trial {
	t.Helper()
	skipUnlessRoot(t)
	tr := newTrialIn(t, command("pairguard"), folder)
	tr.must(os.Chmod(tr.Root, 0o755))
	return tr
}

// abstractNames are the abstract sockets of a pair that runs, as the kernel lists them.
func (t *trial) abstractNames(pids ...int) (names []string) {
	t.Helper()
	inodes := map[string]bool{}
	for _, pid := range pids {
		folder := fmt.Sprintf("/proc/%d/fd", pid)
		files, err := os.ReadDir(folder)
		t.must(err)
		for _, f := range files {
			if target, err := os.Readlink(filepath.Join(folder, f.Name())); err == nil {
				if inode, ok := strings.CutPrefix(target, "socket:["); ok {
					inodes[strings.TrimSuffix(inode, "]")] = true
				}
			}
		}
	}
	text, err := os.ReadFile("/proc/net/unix")
	t.must(err)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 8 && inodes[f[6]] && strings.HasPrefix(f[7], "@pairguard/") {
			names = append(names, f[7])
		}
	}
	return names
}

// Nothing that another user tries on the folder or on the processes succeeds, and
// the pair does not notice.
func TestOtherUserGetsNowhere(t *testing.T) {
	t.Parallel()
	tr := newOpenTrial(t, "pairs")
	p := tr.guards("procA", "procB")
	a, b := p.Observer.Holder("procA"), p.Observer.Holder("procB")
	s, said := tr.stranger("folder", tr.Dir, strconv.Itoa(a), strconv.Itoa(b))
	for ; said != "done"; said = s.line() {
		t.Error("another user", said)
		if said == "" {
			break
		}
	}
	for _, name := range append(tr.abstractNames(a, b), filepath.Join(tr.Dir, "procA.sock")) {
		_, said := tr.stranger("connect", name)
		if said != "done: no connection" && said != `done: ""` {
			t.Errorf("at %s another user hears %s", name, said)
		}
	}
	if nowA, nowB := p.Observer.Holder("procA"), p.Observer.Holder("procB"); nowA != a || nowB != b {
		t.Errorf("the holders were %d and %d and are %d and %d", a, b, nowA, nowB)
	}
	if _, err := os.Lstat(filepath.Join(tr.Dir, "stop.procA+procB")); err == nil {
		t.Error("there is a stop")
	}
	tr.stopped(p)
}

// A flood at every address that another user can reach costs the pair nothing.
func TestOtherUserFloods(t *testing.T) {
	tr := newOpenTrial(t, "pairs")
	open := filepath.Join(tr.Root, "open") // an address outside the folder, which everybody can reach
	p := tr.pair("procA", "procB")
	p.First = tr.guard("procA", "procB")
	tr.must(p.AwaitUp(tr.ctx))
	other := tr.guard(open, "procC", "--", "/bin/sleep", "1000")
	tr.exists(open)
	tr.must(os.Chmod(open, 0o777))
	a, b := p.Observer.Holder("procA"), p.Observer.Holder("procB")
	s, said := tr.stranger("flood", append(tr.abstractNames(a, b), open)...)
	if said != "done" {
		t.Fatal(said)
	}
	tr.remains("both as they are", pairguard.DefaultTimeout+500*time.Millisecond, func(now []stage.Process) bool {
		return has(now, a) && has(now, b) && has(now, other.PID())
	})
	if kb := memory(other.PID()); kb > mostMemory {
		t.Errorf("it takes %d kB", kb)
	}
	_, err := p.Replace(tr.ctx, "procB", syscall.SIGKILL)
	tr.must(err)
	s.leave()
	if n := tr.count(func(e pairguard.Event) bool {
		return e.Kind == pairguard.PeerHung || e.Kind == pairguard.PeerLeft || e.Kind == pairguard.Stopped
	}); n > 0 {
		t.Errorf("%d events of hanging or ending", n)
	}
	if _, err := tr.Command(tr.ctx, "stop"); err != nil {
		t.Error(err)
	}
	tr.must(tr.AwaitProcesses(tr.ctx, "nothing is left", none))
}

// The abstract sockets of the names are squatted before the pair starts: that
// delays the start by a second, is said, and changes nothing else.
func TestOtherUserSquatsTheAbstractSocket(t *testing.T) {
	t.Parallel()
	tr := newOpenTrial(t, "pairs")
	p := tr.guards("procA", "procB")
	names := tr.abstractNames(p.Observer.Holder("procA"), p.Observer.Holder("procB"))
	if len(names) != 2 {
		t.Fatalf("the abstract sockets are %q", names)
	}
	tr.stopped(p)
	s, said := tr.stranger("squat", names...)
	if said != "done" {
		t.Fatal(said)
	}
	began := time.Now()
	tr.guard("procA", "procB", "--backoff", "0")
	tr.event("it is said who is in the way", func(e pairguard.Event) bool {
		return saw("procA", pairguard.Listening)(e) && e.Time.After(began) && strings.Contains(e.Reason, "of user 65534")
	})
	tr.must(p.AwaitUp(tr.ctx))
	t.Logf("both up after %v", time.Since(began))
	_, err := p.KillInTurn(tr.ctx, 2, syscall.SIGKILL)
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	second := tr.guard("procA", "procB")
	tr.ended(second, 100)
	s.leave()
	began = time.Now()
	tr.event("the socket is held when he has gone", func(e pairguard.Event) bool {
		return saw("procA", pairguard.Listening)(e) && e.Time.After(began) && strings.Contains(e.Reason, "held again")
	})
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}

// In a folder that everybody may write to, another user puts something in the
// place of the pair's folder: that is refused, and said.
func TestOtherUserSquatsTheFolder(t *testing.T) {
	for _, c := range []struct {
		what  string
		plant func(dir string) error
		says  string
	}{
		{"a folder", func(dir string) error { return os.Mkdir(dir, 0o777) }, "belongs to user 65534"},
		{"a link to a folder of root", func(dir string) error { return os.Symlink("/root", dir) }, "symbolic link"},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o666) }, "not a directory"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			tr := newOpenTrial(t, "tmp/pairs")
			tmp := filepath.Dir(tr.Dir)
			tr.must(os.Mkdir(tmp, 0o700))
			tr.must(os.Chmod(tmp, os.ModeSticky|0o777))
			tr.must(c.plant(tr.Dir))
			tr.must(os.Lchown(tr.Dir, nobody, nobody))
			a := tr.guard("procA", "procB")
			tr.ended(a, 1)
			if said := a.Stderr(); !strings.Contains(said, c.says) || strings.Contains(said, "\n") {
				t.Errorf("it said %q", said)
			}
		})
	}
}

// At an address in a place that is open to everybody another user listens first.
// He is told nothing, is not taken for the peer, and is not killed in its place.
func TestOtherUserListensFirst(t *testing.T) {
	t.Parallel()
	tr := newOpenTrial(t, "pairs")
	tmp := filepath.Join(tr.Root, "tmp")
	tr.must(os.Mkdir(tmp, 0o700))
	tr.must(os.Chmod(tmp, os.ModeSticky|0o777))
	address := filepath.Join(tmp, "procB")
	s, said := tr.stranger("listen", address)
	if said != "done" {
		t.Fatal(said)
	}
	p := tr.pair("procA", "procA") // procB's lock file is called after its address
	p.First = tr.guard("procA", address, "--backoff", "100ms", "--backoff-max", "200ms")
	tr.event("it is said who is there", func(e pairguard.Event) bool {
		return saw("procA", pairguard.Listening)(e) && strings.Contains(e.Reason, "user 65534") && strings.Contains(e.Reason, address)
	})
	mine := tr.guard(address, "procA")
	tr.ended(mine, 1)
	if said := mine.Stderr(); !strings.Contains(said, address) || strings.Contains(said, "\n") {
		t.Errorf("it said %q", said)
	}
	tr.remains("the guard", unchanged, func(now []stage.Process) bool { return has(now, p.First.PID()) })
	s.leave()
	for line := range s.lines {
		t.Error("he was", line)
	}
	tr.stopped(p)
}

// What the pair leaves to its peer is as it was given: a guard does not change its
// own OOM score, so that nothing that it starts has another one than it was meant
// to have.
func TestOOMScoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	tr.must(err)
	for _, name := range []string{"procA", "procB"} {
		got, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.Observer.Holder(name)))
		tr.must(err)
		if string(got) != string(own) {
			t.Errorf("%s has %s, was started with %s", name, got, own)
		}
	}
	tr.stopped(p)
}
