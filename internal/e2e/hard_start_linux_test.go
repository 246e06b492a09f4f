package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// copied is pairguard's command in a folder of its own below the stage.
func (t *trial) copied(folder string) string {
	t.Helper()
	path := filepath.Join(t.Root, folder, "pairguard")
	t.must(os.Mkdir(filepath.Dir(path), 0o755))
	t.must(os.Link(command("pairguard"), path))
	return path
}

// failed waits until self says that its peer could not be started, and names what.
func (t *trial) failed(self, what string) {
	t.Helper()
	t.event(self+" says that its peer cannot be started: "+what, func(e pairguard.Event) bool {
		return saw(self, pairguard.PeerFailed)(e) && strings.Contains(e.Reason, what)
	})
}

// What `go run` builds lies in a temporary folder that goes when it ends: that is
// said at the start. From then on nothing can be started, and the one that is left
// goes on trying.
func TestTemporaryFolderVanishes(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	binary := tr.copied("go-build1")
	p := tr.pair("procA", "procB")
	p.First = tr.guard("procA", "procB", "--backoff", "50ms", "--backoff-max", "100ms", "--", binary, "guard", "procB", "procA", "--dir", tr.Dir)
	tr.event("it is warned of", func(e pairguard.Event) bool {
		return saw("procA", pairguard.Listening)(e) && strings.Contains(e.Reason, binary) && strings.Contains(e.Reason, "temporary")
	})
	tr.must(p.AwaitUp(tr.ctx))
	aside := filepath.Join(tr.Root, "aside")
	tr.must(os.Rename(filepath.Dir(binary), aside))
	tr.must(stage.AwaitGone(tr.ctx, tr.kill(p, "procB")))
	tr.failed("procA", binary)
	tr.remains("the guard alone", unchanged, only(p.First.PID()))
	tr.must(os.Rename(aside, filepath.Dir(binary)))
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}

// An executable that is there but may not be run, and one that is not one.
func TestExecutableMayNotBeRun(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	binary := filepath.Join(tr.Root, "program")
	tr.must(os.WriteFile(binary, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o644))
	a := tr.guard("procA", "procB", "--", binary)
	tr.ended(a, 1)
	if !strings.Contains(a.Stderr(), binary) || strings.Contains(a.Stderr(), "\n") {
		t.Errorf("it said %q", a.Stderr())
	}
	tr.must(os.Chmod(binary, 0o755))
	p := tr.pair("procA", "procB")
	p.First = tr.guard("procA", "procB", "--backoff", "50ms", "--backoff-max", "100ms", "--", binary)
	pid := tr.program(0, "sleep", "1000")
	tr.must(os.Chmod(binary, 0o644))
	tr.must(syscall.Kill(pid, syscall.SIGKILL))
	tr.failed("procA", "permission denied")
	tr.must(os.Chmod(binary, 0o755))
	pid = tr.program(pid, "sleep", "1000")
	tr.must(os.WriteFile(binary+".new", []byte("\x7fELF is not enough"), 0o755))
	tr.must(os.Rename(binary+".new", binary))
	tr.must(syscall.Kill(pid, syscall.SIGKILL))
	tr.failed("procA", "exec format error")
	tr.stopped(p)
}

// A program that reads for a long time before it becomes a member is reported,
// left alone, and neither doubled nor killed. 300 ms stand for the ten seconds of
// the default, so that the test is short.
func TestPeerThatStartsSlowly(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	gate := filepath.Join(tr.Root, "gate")
	tr.must(unix.Mkfifo(gate, 0o600))
	script := filepath.Join(tr.Root, "slow")
	tr.must(os.WriteFile(script, []byte("#!/bin/sh\nread go <"+gate+"\nexec "+tr.Binary+" guard procB procA --dir "+tr.Dir+"\n"), 0o755))
	p := tr.pair("procA", "procB")
	p.First = tr.guard("procA", "procB", "--backoff", "0", "--start-timeout", "300ms", "--", script)
	silent := tr.event("it is reported", saw("procA", pairguard.PeerSilent))
	tr.remains("one is starting, nobody else", pairguard.DefaultTimeout+time.Second, func(now []stage.Process) bool {
		return len(now) == 2 && has(now, silent.PeerPID)
	})
	f, err := os.OpenFile(gate, os.O_WRONLY, 0)
	tr.must(err)
	_, err = f.WriteString("go\n")
	tr.must(err)
	tr.must(f.Close())
	up := tr.event("it is up at last", saw("procA", pairguard.PeerUp))
	if up.PeerPID != silent.PeerPID {
		t.Errorf("process %d was starting, process %d is up", silent.PeerPID, up.PeerPID)
	}
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}
