package pairguard

import (
	"reflect"
	"sync"

	"github.com/pairguard/pairguard/internal/protocol"
)

// requests are what the application asked of a member: leave, stop, look. Asking
// never waits, also while no loop runs. Safe for concurrent use.
type requests struct {
	wake chan struct{} // has one element while some may be there

	mu  sync.Mutex // guards all
	all []protocol.Event
}

// mostAlike is how many requests of one kind can mean anything: a second stop kills.
const mostAlike = 2

func newRequests() *requests { return &requests{wake: make(chan struct{}, 1)} }

// ask adds a request, unless as many of its kind as can matter wait already.
func (r *requests) ask(event protocol.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	alike := 0
	for _, e := range r.all {
		if reflect.TypeOf(e) == reflect.TypeOf(event) {
			alike++
		}
	}
	if alike < mostAlike {
		r.all = append(r.all, event)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take returns what was asked, in order, and forgets it.
func (r *requests) take() []protocol.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}
