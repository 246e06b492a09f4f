package sim

import (
	"math/rand/v2"
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
)

// The settings of the simulated pair: the defaults.
const (
	heartbeat    = time.Second
	timeout      = 2 * time.Second
	unsureLimit  = 30 * time.Second
	startTimeout = 10 * time.Second
	grace        = 5 * time.Second
	patience     = time.Second
	backoff      = 500 * time.Millisecond
	backoffMax   = 2 * time.Second
	stable       = 10 * time.Second
	nameCheck    = 2 * time.Second // how often a member looks whether its socket is still there
	lookLimit    = 200             // steps of one process in one simulated second above which it spins
)

const never = time.Duration(1<<63 - 1)

// world is one machine with its processes, its folder and its person. Everything
// in it is a value or a slice of values, so that clone can copy it.
type world struct {
	now       time.Duration // of the monotonic clock
	asleep    time.Duration // how long the machine was suspended so far
	seq       uint64
	queue     queue
	procs     []process
	conns     []conn
	folder    folder
	faults    Faults
	plan      plan
	broken    broken
	random    *rand.Rand // nil while exploring: then nothing is drawn
	check     checker
	trace     *trace // nil: nobody reads it
	spawnFail time.Duration
	stopping  operatorStop
}

// itemKind is what happens when an item's time has come.
type itemKind uint8

const (
	itemDeliver   itemKind = iota // an event reaches a machine
	itemTimer                     // the machine's deadline
	itemBoot                      // the next stage of a birth
	itemDial                      // connect() is called
	itemArrive                    // a line arrives at one end of a connection
	itemEnd                       // the end of the connection arrives
	itemRead                      // a survey reads the folder
	itemLook                      // a process is examined
	itemSpawn                     // fork and exec
	itemRecord                    // the start is recorded
	itemStore                     // the rename of a goodbye
	itemCloseAll                  // a dying process loses its connections
	itemFreeLock                  // a dying process loses its lock
	itemDead                      // its death is proved
	itemResume                    // a process may run again
	itemHappening                 // a deed of the plan
	itemOperator                  // the next stage of the operator's stop
	itemPlain                     // the timers of a plain peer
	itemHeal                      // a member looks after its socket
	itemCheck                     // a promise is due
	itemVisitEnds                 // the person who started it ends it
	itemKill                      // kill -9 arrives
)

// item is one entry of the queue.
type item struct {
	at    time.Duration
	seq   uint64
	event protocol.Event
	line  line
	p     int32 // process or happening
	x     int32 // connection, stage, ...
	kind  itemKind
	side  uint8
}

// queue is a heap by time; at the same time the order of entry counts.
type queue []item

func (q queue) less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

func (w *world) push(it item) {
	w.seq++
	it.seq = w.seq
	if it.at < w.now {
		it.at = w.now
	}
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

func (w *world) pop() item {
	q := w.queue
	top := q[0]
	last := len(q) - 1
	q[0] = q[last]
	q[last] = item{}
	w.queue = q[:last]
	q = w.queue
	for i := 0; ; {
		least := i
		if l := 2*i + 1; l < last && q.less(l, least) {
			least = l
		}
		if r := 2*i + 2; r < last && q.less(r, least) {
			least = r
		}
		if least == i {
			return top
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}

// delay is how long something ordinary takes.
func (w *world) delay() time.Duration {
	if w.random == nil {
		return 0
	}
	if w.random.Float64() < w.faults.SlowMessage {
		return upTo(w.random, w.faults.SlowBy)
	}
	return 10*time.Microsecond + upTo(w.random, w.faults.MessageTime)
}

func (w *world) chance(p float64) bool { return w.random != nil && w.random.Float64() < p }

func (w *world) upTo(d time.Duration) time.Duration {
	if w.random == nil {
		return 0
	}
	return upTo(w.random, d)
}

// run lets the world live until end, or until a promise is broken.
func (w *world) run(end time.Duration) {
	for len(w.queue) > 0 && w.check.failure == nil {
		if w.queue[0].at > end {
			break
		}
		it := w.pop()
		w.now = it.at
		w.happen(it)
	}
	w.now = max(w.now, end)
}

func (w *world) happen(it item) {
	switch it.kind {
	case itemHappening:
		w.deed(w.plan.happenings[it.p])
		return
	case itemOperator:
		w.operatorStage(int(it.x))
		return
	case itemCheck:
		w.due(it.x)
		return
	case itemCloseAll:
		w.closeAll(it.p)
		return
	case itemFreeLock:
		w.freeLock(it.p)
		return
	case itemDead:
		w.proveDead(it.p)
		return
	case itemResume:
		w.resume(it.p, limbo(it.x))
		return
	case itemVisitEnds:
		w.visitEnds(it.p)
		return
	case itemKill:
		w.check.stop.hurt = true
		w.die(it.p, "is killed")
		return
	}
	w.happenTo(it)
}

// happenTo is what a process does; one that is dying does nothing any more, one
// that stands still does it when it runs again.
func (w *world) happenTo(it item) {
	p := &w.procs[it.p]
	switch {
	case p.state >= dying:
		return
	case p.still > 0 || !p.begun && needsMachine(it):
		p.deferred = append(p.deferred, it)
		return
	}
	switch it.kind {
	case itemDeliver:
		w.deliver(it.p, it.event)
	case itemTimer:
		w.timer(it.p, it.x)
	case itemBoot:
		w.boot(it.p, it.x)
	case itemDial:
		w.connect(it.p, it.side == 1)
	case itemArrive:
		w.arrive(it)
	case itemEnd:
		w.ended(it)
	case itemRead:
		w.read(it)
	case itemLook:
		w.examine(it)
	case itemSpawn:
		w.spawn(it.p)
	case itemRecord:
		w.record(it.p, it.x)
	case itemStore:
		w.store(it)
	case itemPlain:
		w.plainTimer(it.p, it.x)
	case itemHeal:
		w.heal(it.p)
	}
}

// needsMachine: what reaches a member waits until it has begun.
func needsMachine(it item) bool {
	return it.kind == itemDeliver || it.kind == itemArrive || it.kind == itemEnd || it.kind == itemHeal
}
