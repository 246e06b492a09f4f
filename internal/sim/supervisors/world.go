package supervisors

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"
)

// world is everything. It is a function of its seed and its plan.
type world struct {
	now    time.Duration
	queue  queue
	order  uint64
	random *rand.Rand
	faults Faults
	plan   plan
	broken broken
	check  checker
	trace  *[]string
	calm   bool // nothing goes wrong any more

	slots    [2]*supervisor // the living or dying supervisor of each name
	made     int
	holder   *supervisor // of the lock of the active one
	kernel   kernel
	disk     disk
	clients  []*client // by key
	bodies   []body    // what the bytes of items stand for
	awaiting []func()  // whoever waits for births
}

type item struct {
	at    time.Duration
	order uint64
	do    func()
}

type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = item{}
	*q = old[:len(old)-1]
	return x
}

// after does something later, whoever is alive then.
func (w *world) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.queue, item{w.now + d, w.order, do})
}

// some is a random time up to d.
func (w *world) some(d time.Duration) time.Duration { return time.Duration(w.random.Int64N(int64(d))) }

func (w *world) chance(p float64) bool { return w.random.Float64() < p }

func (w *world) tell(format string, args ...any) {
	if w.trace != nil {
		*w.trace = append(*w.trace, fmt.Sprintf("%10.4f  ", w.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

const maxSteps = 400_000

// run lets the world live until the end, or until a promise is broken.
func (w *world) run(end time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= end && w.check.failure == nil {
		it := heap.Pop(&w.queue).(item)
		w.now = it.at
		w.check.counts.Steps++
		if w.check.counts.Steps > maxSteps {
			w.check.fail(w, silenced, "it never comes to rest: somebody spins")
			return
		}
		it.do()
	}
	w.now = end
}

// disk holds the newest stored body of each key.
type disk struct {
	stored    map[string]uint64
	fullUntil time.Duration
	hungUntil time.Duration
}

// write stores a body, or not; done is told when it is over. A supervisor that dies on the way has written it or has not.
func (w *world) write(s *supervisor, key string, id uint64, done func(ok bool)) {
	d := w.some(2 * time.Millisecond)
	if w.chance(w.faults.SlowDisk) {
		d = w.some(200 * time.Millisecond)
	}
	if at := w.now + d; at < w.disk.hungUntil {
		d = w.disk.hungUntil - w.now + w.some(time.Millisecond)
	}
	w.after(d, func() {
		if !s.alive {
			return
		}
		ok := w.now >= w.disk.fullUntil
		if ok && w.bodies[id].gone {
			delete(w.disk.stored, key)
		} else if ok {
			w.disk.stored[key] = id
		}
		s.event(func() { done(ok) })
	})
}
