package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

var (
	chaosTime = flag.Duration("chaos", 12*time.Second, "how long TestChaos goes on")
	chaosSeed = flag.Uint64("chaos-seed", 0, "the seed of TestChaos; 0: a random one, which is printed")
)

// chaosBound is how long it may take after the last fault until both are up again:
// a hang that begins right before it, the longest backoff, and a start, on a
// machine that is busy with other tests as well. For as long as the observer, which
// needs next to nothing, gets no processor the clock does not run.
const chaosBound = 15 * time.Second

// fault is one thing that chaos does to a pair; it returns when it has done it.
type fault struct {
	name string
	do   func(c *chaos) error
}

// errSkipped: the fault was not possible just now.
var errSkipped = errors.New("skipped")

// chaos is one pair and what was done to it. The faults follow from the seed
// alone; what becomes of them depends on the machine.
type chaos struct {
	*trial
	seed     uint64
	pair     *stage.Pair
	random   *rand.Rand
	done     map[string]int
	anchored int            // times that nobody was left, and a person started one
	busy     sync.WaitGroup // faults that go on for a while
}

// faults are chosen by weight: each stands here as often as it is to happen.
var faults = []fault{
	{"SIGKILL of one", (*chaos).killOne},
	{"SIGKILL of one", (*chaos).killOne},
	{"SIGKILL of one", (*chaos).killOne},
	{"SIGKILL during a start", (*chaos).killDuringStart},
	{"SIGKILL during a start", (*chaos).killDuringStart},
	{"SIGKILL of both", (*chaos).killBoth},
	{"SIGSTOP and SIGCONT", (*chaos).blink},
	{"SIGSTOP and SIGCONT", (*chaos).blink},
	{"SIGSTOP and SIGCONT of both", (*chaos).blinkBoth},
	{"SIGSTOP for good", (*chaos).hang},
	{"SIGKILL during a leave", (*chaos).killDuringLeave},
	{"leave, started again", (*chaos).leaveAndReturn},
	{"exit by itself", (*chaos).exit},
	{"files removed", (*chaos).removeFiles},
	{"folder removed", (*chaos).removeFolder},
	{"second start", (*chaos).secondStart},
	{"starvation", (*chaos).starve},
}

// TestChaos does to a pair whatever comes by the seed. All the time an outsider
// looks who holds the names: never two. After the last fault both are back within
// the bound.
//
//	make chaos MINUTES=30 SEED=7
func TestChaos(t *testing.T) {
	seed := *chaosSeed
	for seed == 0 {
		seed = rand.Uint64() >> 32
	}
	tr := newTrialFor(t, *chaosTime+5*time.Minute)
	c := &chaos{
		trial: tr, seed: seed, pair: tr.NewPair("procA", "procB"), done: map[string]int{},
		random: rand.New(rand.NewPCG(seed, 0)),
	}
	defer c.report()
	tr.guard("procA", "procB", "--backoff", "0")
	tr.must(c.pair.AwaitUp(tr.ctx))
	for end := time.Now().Add(*chaosTime); time.Now().Before(end) && !t.Failed(); {
		f := faults[c.random.IntN(len(faults))]
		switch err := f.do(c); {
		case err == nil:
			c.done[f.name]++
		case !errors.Is(err, errSkipped):
			t.Fatalf("%s: %v", f.name, err)
		}
		c.pause()
	}
	c.busy.Wait()
	c.whole()
	tr.stopped(c.pair)
	tr.remains("nothing comes back", unchanged, none)
}

func newTrialFor(t *testing.T, d time.Duration) *trial {
	t.Helper()
	tr := newTrial(t)
	tr.ctx = t.Context()
	deadline := time.AfterFunc(d, func() { panic("chaos does not end") })
	t.Cleanup(func() { deadline.Stop() })
	return tr
}

// whole waits until both are up for each other, with a person's help where nobody
// is left to help.
func (c *chaos) whole() {
	c.Helper()
	began, stalled := time.Now(), c.pair.Observer.Stalled()
	for {
		c.anchor()
		soon, cancel := context.WithTimeout(c.ctx, chaosBound/5)
		err := c.pair.AwaitUp(soon)
		cancel()
		took := time.Since(began) - (c.pair.Observer.Stalled() - stalled)
		if err == nil && took <= chaosBound {
			return
		}
		if took > chaosBound {
			c.Fatalf("%v after the last fault: %v", took, err)
		}
	}
}

// anchor is the outer anchor, or a person: when nobody is left who could do
// anything it kills whoever hangs, and starts one.
func (c *chaos) anchor() {
	c.Helper()
	now, err := c.Processes()
	c.must(err)
	guards := slices.DeleteFunc(now, func(p stage.Process) bool { return !p.Is(c.Binary, "guard") })
	if slices.ContainsFunc(guards, func(p stage.Process) bool { return p.State != "T" }) {
		return
	}
	for _, p := range guards {
		c.must(p.Signal(syscall.SIGKILL))
	}
	c.anchored++
	c.guard("procA", "procB", "--backoff", "0")
}

// pause lets between none and 600 ms pass, mostly little, so that faults meet
// pairs in every state; now and then it waits until both are up.
func (c *chaos) pause() {
	c.Helper()
	c.anchor()
	if c.random.IntN(4) == 0 {
		c.busy.Wait()
		c.whole()
		return
	}
	d := time.Duration(c.random.ExpFloat64() * float64(100*time.Millisecond))
	c.wait(min(d, 600*time.Millisecond))
}

func (c *chaos) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.ctx.Done():
	}
}

// victim is the holder of one of the names; 0: nobody just now.
func (c *chaos) victim() (name string, pid int) {
	name = []string{"procA", "procB"}[c.random.IntN(2)]
	return name, c.pair.Observer.Holder(name)
}

// send sends a signal; that the process is gone by then is no error.
func send(pid int, sig syscall.Signal) error {
	if pid == 0 {
		return nil
	}
	return stage.Process{PID: pid}.Signal(sig)
}

func (c *chaos) killOne() error {
	_, pid := c.victim()
	return send(pid, syscall.SIGKILL)
}

func (c *chaos) killBoth() error {
	a, b := c.pair.Observer.Holder("procA"), c.pair.Observer.Holder("procB")
	err := send(a, syscall.SIGKILL)
	if err == nil {
		err = send(b, syscall.SIGKILL)
	}
	return err
}

// killDuringStart kills one and then whatever appears as its successor, from a
// just forked process to one that holds its name.
func (c *chaos) killDuringStart() error {
	name, pid := c.victim()
	if err := send(pid, syscall.SIGKILL); err != nil || pid == 0 {
		return err
	}
	moment := time.Duration(c.random.IntN(20)) * time.Millisecond
	c.wait(moment)
	now, err := c.Processes()
	if err != nil {
		return err
	}
	for _, p := range now {
		if p.Is(c.Binary, "guard", name) {
			err = p.Signal(syscall.SIGKILL)
		}
	}
	return err
}

// blink stops one for less than the timeout.
func (c *chaos) blink() error {
	_, pid := c.victim()
	return c.still(pid)
}

// blinkBoth does so to both: nobody is left who could judge, and nobody may be
// judged for it afterwards.
func (c *chaos) blinkBoth() error {
	return c.still(c.pair.Observer.Holder("procA"), c.pair.Observer.Holder("procB"))
}

// still stops processes, and lets them go on after a while.
func (c *chaos) still(pids ...int) error {
	d := time.Duration(c.random.IntN(1500)) * time.Millisecond
	for _, pid := range pids {
		if err := send(pid, syscall.SIGSTOP); err != nil {
			return err
		}
	}
	c.busy.Go(func() {
		c.wait(d)
		for _, pid := range pids {
			send(pid, syscall.SIGCONT)
		}
	})
	return nil
}

// hang stops one that is up and leaves the rest to its peer. One that is stopped
// where nobody can dial it, because it does not listen yet, cannot be told from a
// program that never says HELLO; see docs/failure-modes.md.
func (c *chaos) hang() error {
	c.busy.Wait()
	c.whole()
	_, pid := c.victim()
	return send(pid, syscall.SIGSTOP)
}

// someStopped: somebody is in state T.
func (c *chaos) someStopped() bool {
	now, err := c.Processes()
	return err != nil || slices.ContainsFunc(now, func(p stage.Process) bool { return p.State == "T" })
}

// killDuringLeave says SIGTERM and kills a moment later. Whether it had left by
// then or not, a person starts it again.
func (c *chaos) killDuringLeave() error {
	name, pid := c.victim()
	if err := send(pid, syscall.SIGTERM); err != nil || pid == 0 {
		return err
	}
	c.wait(time.Duration(c.random.IntN(3000)) * time.Microsecond)
	if err := send(pid, syscall.SIGKILL); err != nil {
		return err
	}
	return c.start(name, pid)
}

func (c *chaos) leaveAndReturn() error {
	name, pid := c.victim()
	if err := send(pid, syscall.SIGTERM); err != nil || pid == 0 {
		return err
	}
	c.wait(time.Duration(c.random.IntN(100)) * time.Millisecond)
	return c.start(name, pid)
}

// start is a person who starts a member again, and sees to it that it has begun its
// life: before that its leave stands. While the old one is still going, which takes as
// long as its grace when it has to bring back its peer in a folder that is gone, the name
// is taken; when another one has it, there is nothing left to do.
func (c *chaos) start(name string, old int) error {
	for deadline := time.Now().Add(2 * pairguard.DefaultGrace); time.Now().Before(deadline); {
		a, err := c.Guard(name, c.pair.Peer(name), "--backoff", "0")
		if err != nil {
			return err
		}
		ctx, ended := context.WithCancel(c.ctx)
		go func() { <-a.Done(); ended() }()
		err = c.AwaitProcesses(ctx, name+" begins its life", func([]stage.Process) bool { return c.begun(name, a.PID()) })
		ended()
		if err == nil {
			return nil
		}
		if now := c.pair.Observer.Holder(name); now != 0 && now != old {
			return nil
		}
		c.anchor() // the old one may be stopped, and the other one dead
	}
	return fmt.Errorf("%s cannot be started", name)
}

// begun: the newest life of the name is that of the process.
func (c *chaos) begun(name string, pid int) bool {
	life, err := os.ReadFile(filepath.Join(c.Dir, name+".life"))
	return err == nil && (strings.Contains(string(life), fmt.Sprintf(`"pid":%d,`, pid)) || strings.Contains(string(life), fmt.Sprintf(`"PID":%d,`, pid)))
}

// exit makes one end by itself: SIGQUIT is a crash that the process itself makes.
func (c *chaos) exit() error {
	_, pid := c.victim()
	return send(pid, syscall.SIGQUIT)
}

// removeFiles removes some of one's files, but not while somebody is stopped: his
// socket could not be put back.
func (c *chaos) removeFiles() error {
	if c.someStopped() {
		return errSkipped
	}
	name := []string{"procA", "procB"}[c.random.IntN(2)]
	for _, suffix := range []string{".sock", ".lock", ".life", ".spawn", ".events.jsonl", ".log"} {
		if c.random.IntN(2) == 0 {
			os.Remove(filepath.Join(c.Dir, name+suffix)) // it need not be there
		}
	}
	return nil
}

func (c *chaos) removeFolder() error {
	if c.someStopped() {
		return errSkipped
	}
	os.RemoveAll(c.Dir) // somebody may be writing into it: then a part of it goes
	return nil
}

// secondStart starts one that is there already, or nearly.
func (c *chaos) secondStart() error {
	name := []string{"procA", "procB"}[c.random.IntN(2)]
	_, err := c.Guard(name, c.pair.Peer(name), "--backoff", "0")
	return err
}

// starve takes the processors from everybody for up to a second.
func (c *chaos) starve() error {
	d := time.Duration(c.random.IntN(1000)) * time.Millisecond
	for range 4 {
		a, err := c.Start("/bin/sh", "-c", "while :; do :; done")
		if err != nil {
			return err
		}
		c.busy.Go(func() {
			c.wait(d)
			a.Signal(syscall.SIGKILL)
			<-a.Done()
		})
	}
	return nil
}

// report says what was done and what the observer saw; two holders are an error.
func (c *chaos) report() {
	c.busy.Wait()
	r := c.pair.Observer.Close()
	c.verdict(r)
	var kinds []string
	total := 0
	for name, n := range c.done {
		kinds = append(kinds, fmt.Sprintf("%4d  %s", n, name))
		total += n
	}
	slices.Sort(kinds)
	slices.Reverse(kinds)
	var longest time.Duration
	changes := 0
	for _, name := range []string{c.pair.A, c.pair.B} {
		gap, n := r.Longest(name)
		longest = max(longest, gap)
		changes += n
	}
	c.Logf("%d faults by kind:\n%s", total, strings.Join(kinds, "\n"))
	c.Logf("%d new holders: revivals, but for a person's starts (%d when nobody was left); longest without a holder %v; most holders of a name at once %d",
		changes, c.anchored, longest.Round(time.Millisecond), r.Most)
	c.Logf("the observer looked %d times, at most %v apart, and was held up for %v; %d times a second lock file was locked in vain",
		r.Samples, r.Slowest.Round(time.Millisecond), r.Stalled.Round(time.Millisecond), r.Contested)
	c.Logf("to repeat the faults: make chaos SEED=%d", c.seed)
}
