package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/pairguard/pairguard/bench/stage"
)

var takenLine = regexp.MustCompile(`^pairguard: the name procA is taken by process (\d+): [^\n]+$`)

func TestOneOfFifty(t *testing.T) {
	const instances = 50
	tr := newTrial(t)
	p := tr.pair("procA", "procB")
	var all []*stage.Actor
	for range instances {
		all = append(all, tr.guard("procA", "procB"))
	}
	tr.must(p.AwaitUp(tr.ctx))
	holder, refused := p.Observer.Holder("procA"), 0
	for _, a := range all {
		if a.PID() == holder {
			continue
		}
		tr.ended(a, 100)
		refused++
		m := takenLine.FindStringSubmatch(a.Stderr())
		if m == nil || m[1] != strconv.Itoa(holder) {
			t.Errorf("holder %d; one that was refused said %q", holder, a.Stderr())
		}
		if a.Stdout() != "" {
			t.Errorf("one that was refused printed %q", a.Stdout())
		}
	}
	if refused != instances-1 {
		t.Errorf("%d were refused, the holder is process %d", refused, holder)
	}
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}

// A script starts both members: neither may take the other for missing, nor give up.
func TestBothStartedAtOnce(t *testing.T) {
	for round := range times(10, 50) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			tr := newTrial(t)
			p := tr.pair("procA", "procB")
			self, peer := "procA", "procB"
			if round%2 == 1 {
				self, peer = peer, self
			}
			a := tr.guard(self, peer)
			b := tr.guard(peer, self)
			tr.must(p.AwaitUp(tr.ctx))
			if p.Observer.Holder(self) != a.PID() || p.Observer.Holder(peer) != b.PID() {
				t.Errorf("started %d and %d, but %d and %d hold the names", a.PID(), b.PID(), p.Observer.Holder(self), p.Observer.Holder(peer))
			}
			tr.stopped(p)
			tr.ended(a, 0)
			tr.ended(b, 0)
		})
	}
}
