package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pairguard/pairguard"
)

// What is removed under a running pair is put back; a second start right after the
// removal is turned away, and killing still works afterwards.
func TestRemovedUnderAPair(t *testing.T) {
	for _, c := range []struct {
		what   string
		remove func(dir string) error
		back   string // stands there again when it is healed
		reason string // in the event; "": the log is gone too
	}{
		{"socket", func(dir string) error { return os.Remove(filepath.Join(dir, "procA.sock")) }, "procA.sock", "socket"},
		{"lock file", func(dir string) error { return os.Remove(filepath.Join(dir, "procA.lock")) }, "procA.lock", "lock"},
		{"folder", os.RemoveAll, "procA.sock", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			p := tr.guards("procA", "procB", "--backoff", "0")
			a, b := p.Observer.Holder("procA"), p.Observer.Holder("procB")
			tr.must(c.remove(tr.Dir))
			second := tr.guard("procA", "procB")
			tr.ended(second, 100)
			if c.reason != "" {
				tr.event("it is healed", func(e pairguard.Event) bool {
					return saw("procA", pairguard.Listening)(e) && strings.Contains(e.Reason, c.reason)
				})
			}
			tr.exists(filepath.Join(tr.Dir, c.back))
			tr.must(p.AwaitTwo(tr.ctx))
			if nowA, nowB := p.Observer.Holder("procA"), p.Observer.Holder("procB"); nowA != a || nowB != b {
				t.Errorf("the holders were %d and %d and are %d and %d", a, b, nowA, nowB)
			}
			// Both are killed, so that both names have begun a new life.
			_, err := p.KillInTurn(tr.ctx, 4, syscall.SIGKILL)
			tr.must(err)
			tr.must(p.AwaitUp(tr.ctx))
			tr.stopped(p)
		})
	}
}

// Removed and killed in the same moment: the survivor has nothing but its locks.
func TestRemovedAndKilled(t *testing.T) {
	for _, c := range []struct {
		what   string
		remove func(dir string) error
	}{
		{"socket", func(dir string) error { return os.Remove(filepath.Join(dir, "procA.sock")) }},
		{"lock file", func(dir string) error { return os.Remove(filepath.Join(dir, "procA.lock")) }},
		{"folder", os.RemoveAll},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			p := tr.guards("procA", "procB", "--backoff", "0")
			a := p.Observer.Holder("procA")
			tr.must(c.remove(tr.Dir))
			tr.must(syscall.Kill(a, syscall.SIGKILL))
			_, err := p.Observer.AwaitHolder(tr.ctx, "procA", a)
			tr.must(err)
			tr.must(p.AwaitTwo(tr.ctx))
			_, err = p.KillInTurn(tr.ctx, 2, syscall.SIGKILL)
			tr.must(err)
			tr.must(p.AwaitUp(tr.ctx))
			tr.stopped(p)
		})
	}
}
