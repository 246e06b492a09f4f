package supervisor

import "sync"

// queue does one piece of work after the other, aside. Safe for concurrent use.
type queue struct {
	mu     sync.Mutex
	work   []func()
	closed bool
	wake   chan struct{} // has room for one
	done   chan struct{}
}

func newQueue() *queue {
	q := &queue{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

func (q *queue) do(fn func()) {
	q.mu.Lock()
	q.work = append(q.work, fn)
	q.mu.Unlock()
	q.ring()
}

// drop forgets what has not begun.
func (q *queue) drop() {
	q.mu.Lock()
	q.work = nil
	q.mu.Unlock()
}

// close ends the queue when what is waiting has been done; then done is closed.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.ring()
}

func (q *queue) ring() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) run() {
	defer close(q.done)
	for {
		q.mu.Lock()
		closed := q.closed
		var fn func()
		if len(q.work) > 0 {
			fn, q.work = q.work[0], q.work[1:]
		}
		q.mu.Unlock()
		switch {
		case fn != nil:
			fn()
		case closed:
			return
		default:
			<-q.wake
		}
	}
}
