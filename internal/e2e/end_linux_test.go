package e2e

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

const (
	// unchanged is how long nothing may be started after an announced end.
	unchanged = 500 * time.Millisecond
	// stopMargin is what a stop may take beyond the grace time.
	stopMargin = time.Second
)

// only is true while the process and nobody else is there. What it has forked for
// a start that may still fail is nobody yet.
func only(pid int) func([]stage.Process) bool {
	return func(now []stage.Process) bool {
		others := slices.DeleteFunc(slices.Clone(now), func(p stage.Process) bool { return p.Forked && p.Parent == pid })
		return len(others) == 1 && others[0].PID == pid
	}
}

func TestSIGTERMEndsOneAlone(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	a, b := p.First, p.Observer.Holder("procB")
	tr.must(a.Signal(syscall.SIGTERM))
	tr.ended(a, 0)
	tr.event("procB sees it leave", saw("procB", pairguard.PeerLeft))
	tr.remains("procB alone, not reviving", unchanged, only(b))
	// A leave ends when the name starts again; then it is guarded again.
	tr.guard("procA", "procB")
	tr.must(p.AwaitUp(tr.ctx))
	tr.kill(p, "procA")
	_, err := p.Observer.AwaitHolder(tr.ctx, "procA", p.First.PID())
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}

func TestCtrlCEndsThePair(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	began := time.Now()
	tr.must(p.First.Signal(syscall.SIGINT))
	tr.ended(p.First, 0)
	tr.must(tr.AwaitProcesses(tr.ctx, "nothing is left", none))
	if took := time.Since(began); took > pairguard.DefaultGrace+stopMargin {
		t.Errorf("it took %v", took)
	}
	tr.remains("nothing comes back", unchanged, none)
	tr.restarts(p)
}

// In a script's background (sh without job control: SIGINT is ignored there) Ctrl-C
// is meant for somebody else. What it starts hears SIGINT all the same.
func TestCtrlCIsNotForTheBackground(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.pair("procA", "procB")
	a, err := tr.Start("sh", "-c", `trap '' INT; exec "$0" guard procA procB --dir "$1"`, command("pairguard"), tr.Dir)
	tr.must(err)
	p.First = a
	tr.must(p.AwaitUp(tr.ctx))
	tr.must(a.Signal(syscall.SIGINT))
	tr.remains("both live", unchanged, func(now []stage.Process) bool { return len(now) == 2 })
	tr.must(syscall.Kill(p.Observer.Holder("procB"), syscall.SIGINT))
	tr.ended(a, 0)
	tr.must(tr.AwaitProcesses(tr.ctx, "nothing is left", none))
}

// restarts sees to it that a stopped pair works again once a person starts it.
func (t *trial) restarts(p *stage.Pair) {
	t.Helper()
	t.guard("procB", "procA")
	t.must(p.AwaitUp(t.ctx))
	_, err := p.KillInTurn(t.ctx, 2, syscall.SIGKILL)
	t.must(err)
	t.must(p.AwaitUp(t.ctx))
	t.stopped(p)
}

func TestStopEndsThePair(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	began := time.Now()
	tr.stopped(p)
	if took := time.Since(began); took > pairguard.DefaultGrace+stopMargin {
		t.Errorf("it took %v", took)
	}
	tr.remains("nothing comes back", unchanged, none)
	if _, err := tr.Command(tr.ctx, "stop"); err != nil {
		t.Errorf("a second stop: %v", err)
	}
	tr.restarts(p)
}

// One that hangs does not hear of the stop: it is killed after the grace time.
func TestStopEndsAHungMember(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB", "--heartbeat", "10s", "--timeout", "60s")
	tr.must(syscall.Kill(p.Observer.Holder("procB"), syscall.SIGSTOP))
	began := time.Now()
	if _, err := tr.Command(tr.ctx, "stop", "--grace", "1s"); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second+stopMargin {
		t.Errorf("it took %v", took)
	}
	tr.must(tr.AwaitProcesses(tr.ctx, "nothing is left", none))
	tr.remains("nothing comes back", unchanged, none)
}

// oneDown starts a pair and leaves procB dead: its guard waits for a long backoff.
func (t *trial) oneDown() *stage.Pair {
	t.Helper()
	p := t.guards("procA", "procB", "--backoff", "1h", "--backoff-max", "1h")
	_, err := p.Replace(t.ctx, "procB", syscall.SIGKILL) // the first revival is immediate
	t.must(err)
	t.must(p.AwaitUp(t.ctx))
	t.must(stage.AwaitGone(t.ctx, t.kill(p, "procB")))
	t.must(t.AwaitProcesses(t.ctx, "procA alone", only(p.First.PID())))
	return p
}

func TestEndsWhileThePeerIsDown(t *testing.T) {
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		tr := newTrial(t)
		p := tr.oneDown()
		tr.stopped(p)
		tr.remains("nothing comes back", unchanged, none)
		tr.restarts(p)
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		t.Parallel()
		tr := newTrial(t)
		p := tr.oneDown()
		tr.must(p.First.Signal(syscall.SIGINT))
		tr.ended(p.First, 0)
		tr.remains("nothing comes back", unchanged, none)
		tr.restarts(p)
	})
	t.Run("SIGTERM", func(t *testing.T) {
		t.Parallel()
		tr := newTrial(t)
		p := tr.oneDown()
		began := time.Now()
		tr.must(p.First.Signal(syscall.SIGTERM))
		tr.ended(p.First, 0)
		if took := time.Since(began); took > pairguard.DefaultGrace {
			t.Errorf("it took %v", took)
		}
		// Its peer had died before it was asked to leave, and nobody else would bring it back.
		b, err := p.Observer.AwaitHolder(tr.ctx, "procB")
		tr.must(err)
		tr.event("procB sees that it has left", saw("procB", pairguard.PeerLeft))
		tr.remains("procB alone", pairguard.DefaultHeartbeat+unchanged, only(b.PID))
		tr.stopped(p)
	})
	t.Run("SIGTERM, held", func(t *testing.T) {
		t.Parallel()
		tr := newTrial(t)
		p := tr.oneDown()
		_, err := tr.Command(tr.ctx, "hold", "procB", "--for", "1h")
		tr.must(err)
		tr.event("procA knows of the hold", saw("procA", pairguard.Held))
		tr.must(p.First.Signal(syscall.SIGTERM))
		tr.ended(p.First, 0)
		tr.remains("nothing comes back", unchanged, none)
		// Its peer was down when it said so, and obeys all the same.
		b := tr.guard("procB", "procA")
		_, err = p.Observer.AwaitHolder(tr.ctx, "procB")
		tr.must(err)
		tr.remains("procB alone", pairguard.DefaultHeartbeat+unchanged, only(b.PID()))
		tr.stopped(p)
	})
}

// The rename of the goodbye is the instant of leaving: killed before it is a
// crash, killed after it is an end. Which of the two it was, the folder says.
func TestKilledRightAfterTheWord(t *testing.T) {
	for _, word := range []struct {
		name   string
		signal syscall.Signal
		record string
	}{{"leave", syscall.SIGTERM, "procA.leave"}, {"stop", syscall.SIGINT, "stop.procA+procB"}} {
		t.Run(word.name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			p := tr.pair("procA", "procB")
			announced := 0
			rounds := times(4, 15)
			for i := range rounds {
				if p.Observer.Holder("procB") == 0 || p.Observer.Holder("procA") == 0 {
					tr.guard("procA", "procB", "--backoff", "0")
				}
				tr.must(p.AwaitUp(tr.ctx))
				if tr.killedAfter(p, word.signal, word.record, time.Duration(i)*100*time.Microsecond) {
					announced++
				}
			}
			t.Logf("%d of %d were announced in time", announced, rounds)
			tr.stopped(p)
		})
	}
}

// killedAfter says the word to procA, kills it a moment later, and reports whether
// the end had been announced by then. What follows must fit that.
func (t *trial) killedAfter(p *stage.Pair, word syscall.Signal, record string, moment time.Duration) bool {
	t.Helper()
	a, b := p.Observer.Holder("procA"), p.Observer.Holder("procB")
	began := time.Now()
	t.must(syscall.Kill(a, word))
	pause, cancel := context.WithTimeout(t.ctx, moment+rand.N(200*time.Microsecond))
	<-pause.Done()
	cancel()
	if err := syscall.Kill(a, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	t.must(stage.AwaitGone(t.ctx, a))
	_, err := os.Lstat(filepath.Join(t.Dir, record))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, err := p.Observer.AwaitHolder(t.ctx, "procA", a)
		t.must(err)
		return false
	case err != nil:
		t.Fatal(err)
	}
	if word == syscall.SIGTERM {
		t.event("procB sees it leave", func(e pairguard.Event) bool {
			return saw("procB", pairguard.PeerLeft)(e) && e.Time.After(began)
		})
		t.remains("procB alone", 100*time.Millisecond, only(b))
		return true
	}
	t.must(t.AwaitProcesses(t.ctx, "the stop ends procB too", none))
	t.remains("nothing comes back", 100*time.Millisecond, none)
	return true
}
