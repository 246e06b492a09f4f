package sim

import (
	"fmt"
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
)

// Exploration is the small-scope search: from the settled pair, every order of
// what happens in the same instant, and up to Deeds deeds put in at every point.
// Nothing is drawn and nothing takes time but what waits for a timer; "late" is a
// deed of its own, which holds back one thing until everything else is done.
type Exploration struct {
	Deeds     int
	MaxStates int // 0: no limit
	Variant   string
}

// Explored is what a search came to.
type Explored struct {
	States, Steps int
	Complete      bool // every state within the scope was visited
	Failure       *Failure
	Path          []string
}

// the deeds of the search; lasting ones last so long that timers run out.
var exploredDeeds = []happening{
	{deed: kill, name: 0}, {deed: kill, name: 1},
	{deed: leave, name: 0}, {deed: leave, name: 1},
	{deed: stopHere, name: 0}, {deed: stopHere, name: 1}, {deed: stopFolder},
	{deed: hold, name: 0, lasts: 3 * time.Second}, {deed: hold, name: 1, lasts: 3 * time.Second},
	{deed: start, name: 0}, {deed: start, name: 1},
	{deed: standStill, name: 0, lasts: 2300 * time.Millisecond}, {deed: standStill, name: 1, lasts: 2300 * time.Millisecond},
	{deed: stopForEver, name: 0}, {deed: stopForEver, name: 1},
}

const (
	lateBy   = 30 * time.Millisecond // a thing that is late, and longer than everything else
	calmTime = 26 * time.Second      // after the last deed everything is as it should be
)

// node is one state on the way: how it came about, and how many deeds are left.
type node struct {
	world  *world
	deeds  int
	parent *step
}

// step is one choice; the chain of them is the path to a state.
type step struct {
	parent *step
	what   string
}

// Explore searches breadth first within each deed, so that what it finds is short.
func Explore(e Exploration) (Explored, error) {
	b, err := byName(e.Variant)
	if err != nil {
		return Explored{}, err
	}
	var found Explored
	seen := map[uint64]struct{}{}
	stack := []node{{world: settledWorld(b), deeds: e.Deeds}}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		key := n.world.fingerprint(n.deeds)
		if _, known := seen[key]; known {
			continue
		}
		seen[key] = struct{}{}
		found.States++
		if e.MaxStates > 0 && found.States >= e.MaxStates {
			return found, nil
		}
		if n.deeds == 0 && n.world.settled() {
			if failed := n.failing(nil); failed != nil {
				found.Failure, found.Path = failed.world.check.failure, failed.parent.path()
				return found, nil
			}
			continue
		}
		stack = n.successors(stack)
		found.Steps += len(stack)
		if failed := n.failing(stack); failed != nil {
			found.Failure, found.Path = failed.world.check.failure, failed.parent.path()
			return found, nil
		}
	}
	found.Complete = true
	return found, nil
}

// settledWorld is a pair that has been up for a while.
func settledWorld(b broken) *world {
	f := DefaultFaults()
	w := &world{folder: newFolder(), faults: f, broken: b, check: newChecker()}
	w.push(item{at: 0, kind: itemHappening, p: 0})
	w.push(item{at: 10 * time.Millisecond, kind: itemHappening, p: 1})
	w.plan = plan{happenings: []happening{{deed: start, name: 0}, {deed: start, name: 1}}}
	w.run(12500 * time.Millisecond)
	return w
}

// failing is a state just reached that breaks a promise, at once or when it is
// left to itself.
func (n node) failing(stack []node) *node {
	for i := len(stack) - 1; i >= 0 && stack[i].parent != nil && stack[i].parent.parent == n.parent; i-- {
		if stack[i].world.check.failure != nil {
			return &stack[i]
		}
	}
	if n.deeds > 0 || len(n.world.enabled()) > 0 {
		return nil
	}
	rest := n.world.clone()
	rest.run(rest.now + calmTime)
	rest.check.atRest(rest)
	if rest.check.failure != nil {
		return &node{world: rest, parent: &step{n.parent, "... and it is left to itself"}}
	}
	return nil
}

// successors appends every state that may come next.
func (n node) successors(stack []node) []node {
	now := n.world.enabled()
	for _, i := range now {
		next := n.world.clone()
		it := next.take(i)
		next.happen(it)
		stack = append(stack, node{next, n.deeds, &step{n.parent, n.world.itemText(it)}})
	}
	if len(now) == 0 && len(n.world.queue) > 0 {
		next := n.world.clone()
		next.now = next.queue[0].at
		stack = append(stack, node{next, n.deeds, &step{n.parent, "time passes"}})
	}
	if n.deeds == 0 {
		return stack
	}
	for _, h := range exploredDeeds {
		next := n.world.clone()
		next.deed(h)
		stack = append(stack, node{next, n.deeds - 1, &step{n.parent, "DEED " + h.String()}})
	}
	for _, i := range now {
		next := n.world.clone()
		it := next.take(i)
		it.at += lateBy
		next.push(it)
		stack = append(stack, node{next, n.deeds - 1, &step{n.parent, "LATE " + n.world.itemText(it)}})
	}
	return stack
}

func (s *step) path() []string {
	var lines []string
	for ; s != nil; s = s.parent {
		lines = append(lines, s.what)
	}
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return lines
}

// settled: both are up with each other and nothing is under way, so that what
// follows is what follows from every settled state.
func (w *world) settled() bool {
	f := &w.folder
	a, b := f.lock[0], f.lock[1]
	if a < 0 || b < 0 || f.stop || f.holdUntil[0] > w.boottime() || f.holdUntil[1] > w.boottime() || w.stopping.active {
		return false
	}
	if w.alive(0) != 1 || w.alive(1) != 1 || !w.procs[a].begun || !w.procs[b].begun || w.procs[a].still+w.procs[b].still > 0 {
		return false
	}
	for i := range w.queue {
		if k := w.queue[i].kind; k != itemTimer && k != itemCheck {
			return false
		}
	}
	x, y := w.procs[a].machine.Status(), w.procs[b].machine.Status()
	return x.Peer == handleOf(b) && y.Peer == handleOf(a) && x.Phase == protocol.Up && y.Phase == protocol.Up
}

// enabled are the items of this instant that may come next: of one direction of a
// connection only the first.
func (w *world) enabled() []int {
	var ready []int
	for i := range w.queue {
		if w.queue[i].at > w.now || w.behindAnother(i) {
			continue
		}
		if w.void(&w.queue[i]) {
			return []int{i}
		}
		ready = append(ready, i)
	}
	return ready
}

// void: the item does nothing, so its order with the others does not matter.
func (w *world) void(it *item) bool {
	switch it.kind {
	case itemHappening, itemOperator, itemCheck, itemCloseAll, itemFreeLock, itemDead, itemResume, itemKill, itemVisitEnds:
		return false
	case itemArrive, itemEnd:
		return !w.conns[it.x].open[it.side] || w.procs[it.p].state >= dying
	case itemTimer:
		return w.procs[it.p].timerSeq != it.x || w.procs[it.p].state >= dying
	}
	return w.procs[it.p].state >= dying
}

func (w *world) behindAnother(i int) bool {
	a := &w.queue[i]
	if a.kind != itemArrive && a.kind != itemEnd {
		return false
	}
	for j := range w.queue {
		b := &w.queue[j]
		if (b.kind == itemArrive || b.kind == itemEnd) && b.x == a.x && b.side == a.side && b.seq < a.seq {
			return true
		}
	}
	return false
}

// take removes the i-th item, wherever it stands in the heap.
func (w *world) take(i int) item {
	it := w.queue[i]
	rest := append(append(make(queue, 0, len(w.queue)), w.queue[:i]...), w.queue[i+1:]...)
	w.queue = w.queue[:0:0]
	for _, other := range rest {
		w.insert(other)
	}
	return it
}

// insert is push with the sequence number kept.
func (w *world) insert(it item) {
	w.queue = append(w.queue, it)
	q := w.queue
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.less(i, up) {
			return
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

// clone copies everything that changes.
func (w *world) clone() *world {
	c := *w
	c.queue = append(queue(nil), w.queue...)
	c.conns = append([]conn(nil), w.conns...)
	c.procs = append([]process(nil), w.procs...)
	for i := range c.procs {
		c.procs[i].watching = append([]int32(nil), w.procs[i].watching...)
		c.procs[i].peers = append([]int32(nil), w.procs[i].peers...)
		c.procs[i].deferred = append([]item(nil), w.procs[i].deferred...)
	}
	return &c
}

var itemNames = [...]string{
	itemDeliver: "deliver", itemTimer: "timer", itemBoot: "birth", itemDial: "dial", itemArrive: "arrive", itemEnd: "end of link",
	itemRead: "read folder", itemSpawn: "spawn", itemRecord: "record", itemStore: "store", itemCloseAll: "connections close",
	itemFreeLock: "lock is freed", itemDead: "proved dead", itemResume: "resume", itemHappening: "deed", itemOperator: "operator",
	itemPlain: "plain timer", itemHeal: "heal", itemCheck: "check", itemKill: "kill", itemVisitEnds: "visit ends",
}

func (w *world) itemText(it item) string {
	s := fmt.Sprintf("%9.3f %s", w.now.Seconds(), itemNames[it.kind])
	if it.kind != itemOperator && it.kind != itemCheck && it.kind != itemHappening {
		s += " " + w.short(it.p)
	}
	if it.event != nil {
		s += " " + w.eventText(it.event)
	}
	if it.line.message != nil {
		s += fmt.Sprintf(" %T", it.line.message)
	}
	return s
}
