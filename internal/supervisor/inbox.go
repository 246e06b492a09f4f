package supervisor

import "sync"

// batch is how much news is taken at once: what is urgent waits no longer than that.
const batch = 16

// inbox is what the loop has to do next. Putting something in never waits: the loop
// itself does it too, for a thousand programs that have ended at once. How much can be
// in it is bounded by who puts: a request, a parcel, the end of a process each have
// one piece of news at a time. Safe for concurrent use.
type inbox struct {
	mu     sync.Mutex
	news   []func()
	urgent []func()
	wake   chan struct{} // has room for one; has a word in it when there is anything
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(fn func()) {
	b.mu.Lock()
	b.news = append(b.news, fn)
	b.mu.Unlock()
	b.ring()
}

// putUrgent puts in what goes before all news: a fact that others wait for and that is true
// whatever happened before it.
func (b *inbox) putUrgent(fn func()) {
	b.mu.Lock()
	b.urgent = append(b.urgent, fn)
	b.mu.Unlock()
	b.ring()
}

func (b *inbox) ring() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take takes what is urgent, or else the next of the news, and rings when there is more.
func (b *inbox) take() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.urgent
	b.urgent = nil
	if len(next) == 0 {
		n := min(len(b.news), batch)
		next = b.news[:n:n]
		if b.news = b.news[n:]; len(b.news) == 0 {
			b.news = nil
		}
	}
	if len(b.news) > 0 {
		b.ring()
	}
	return next
}
