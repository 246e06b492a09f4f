package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

func TestKillInTurn(t *testing.T) {
	tr := newTrial(t)
	p := tr.guards("procA", "procB", "--backoff", "0")
	away, err := p.KillInTurn(tr.ctx, times(30, 100), syscall.SIGKILL)
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	t.Logf("away: p50 %v, p99 %v", stage.Quantile(away, 0.5), stage.Quantile(away, 0.99))
	if longest := stage.Quantile(away, 1); longest > stage.AwayLimit {
		t.Errorf("a peer was away for %v", longest)
	}
	tr.stopped(p)
}

// The first revival is immediate, the later ones of the same peer follow the
// backoff; in turn each survivor is a new process that has revived nobody yet.
func TestKillsWithDefaults(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	var all []time.Duration
	for range times(3, 6) {
		away, err := p.Replace(tr.ctx, "procB", syscall.SIGKILL)
		tr.must(err)
		tr.must(p.AwaitTwo(tr.ctx))
		all = append(all, away)
	}
	inTurn, err := p.KillInTurn(tr.ctx, times(2, 10), syscall.SIGKILL)
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	for i, away := range append(all, inTurn...) {
		if away > stage.AwayLimit {
			t.Errorf("kill %d: away for %v", i+1, away)
		}
	}
	t.Logf("procB again and again: %v; in turn: %v", all, inTurn)
	tr.stopped(p)
}

func TestBothKilledAndOneStarted(t *testing.T) {
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	for range times(2, 5) {
		// Frozen first, so that neither can notice the death of the other.
		a, b := p.Observer.Holder("procA"), p.Observer.Holder("procB")
		for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
			tr.must(syscall.Kill(a, sig))
			tr.must(syscall.Kill(b, sig))
		}
		tr.must(p.Observer.AwaitNobody(tr.ctx))
		tr.guard("procB", "procA")
		tr.must(p.AwaitUp(tr.ctx))
	}
	tr.stopped(p)
}

// Whoever is stopped by hand gives no sign of life, though its kernel still accepts
// connections for it. Its last heartbeat was sent before the signal.
func TestHangIsReplaced(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	for i := range times(2, 10) {
		name := []string{"procB", "procA"}[i%2]
		old := p.Observer.Holder(name)
		away, err := p.Replace(tr.ctx, name, syscall.SIGSTOP)
		tr.must(err)
		if away > stage.AwayLimit {
			t.Errorf("%s hung for %v", name, away)
		}
		tr.must(p.AwaitUp(tr.ctx))
		for _, kind := range []pairguard.EventKind{pairguard.PeerSuspect, pairguard.PeerHung, pairguard.PeerFenced} {
			tr.event(string(kind), sawOf(p.Peer(name), kind, old))
		}
		t.Logf("%s replaced %v after the signal", name, away)
	}
	tr.stopped(p)
}
