package supervisor

import "sync"

// inbox is what the loop has to do next. Putting something in never waits: the loop
// itself does it too, for a thousand programs that have ended at once. How much can be
// in it is bounded by who puts: a request, a parcel, the end of a process each have
// one piece of news at a time. Safe for concurrent use.
type inbox struct {
	mu   sync.Mutex
	news []func()
	wake chan struct{} // has room for one; has a word in it when there is news
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(fn func()) {
	b.mu.Lock()
	b.news = append(b.news, fn)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take empties it.
func (b *inbox) take() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := b.news
	b.news = nil
	return news
}
