package supervisor

import (
	"sync"

	"github.com/pairguard/pairguard/internal/pairdir"
)

// scribe writes records aside, since a disk may hang. The newest state of a record
// wins: what was overtaken in the queue is never written. Safe for concurrent use.
type scribe struct {
	shelf *pairdir.Shelf

	mu      sync.Mutex
	pending map[recordName]*writing
	awaited []recordName // what somebody waits for goes first
	others  []recordName
	inARow  int           // of awaited, since one of others was written
	wake    chan struct{} // has room for one
	closed  bool
	done    chan struct{}
}

type recordName struct{ name, ext string }

// othersAfter: so many that somebody waits for, then one of the others.
const othersAfter = 64

// writing is one record to be written; nil value: to be removed.
type writing struct {
	value   any
	lasting bool
	awaited bool
	then    []func(error)
}

func newScribe(shelf *pairdir.Shelf) *scribe {
	s := &scribe{shelf: shelf, pending: map[recordName]*writing{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// store puts value on the disk, or takes the record away when value is nil, and
// calls then, which may be nil, when it, or something newer, is there. then runs on
// the scribe's goroutine.
func (s *scribe) store(name, ext string, value any, lasting bool, then func(error)) {
	s.put(recordName{name, ext}, writing{value: value, lasting: lasting, awaited: true}, then)
}

// storeLater is store for what nobody waits for.
func (s *scribe) storeLater(name, ext string, value any, then func(error)) {
	s.put(recordName{name, ext}, writing{value: value}, then)
}

func (s *scribe) put(key recordName, next writing, then func(error)) {
	s.mu.Lock()
	w := s.pending[key]
	if w == nil {
		w = &writing{}
		s.pending[key] = w
		if !next.awaited {
			s.others = append(s.others, key)
		}
	}
	if next.awaited && !w.awaited {
		s.awaited = append(s.awaited, key) // its place among the others is void when its turn comes
	}
	w.value, w.awaited = next.value, w.awaited || next.awaited
	w.lasting = w.lasting || next.lasting // who waits for an older state was promised the disk
	if then != nil {
		w.then = append(w.then, then)
	}
	s.mu.Unlock()
	s.ring()
}

func (s *scribe) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// close writes what is waiting, unless the disk hangs: wait on done with patience.
func (s *scribe) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.ring()
}

func (s *scribe) run() {
	defer close(s.done)
	for {
		key, w, closed := s.next()
		switch {
		case w != nil:
			err := s.write(key, w)
			for _, then := range w.then {
				then(err)
			}
		case closed:
			return
		default:
			<-s.wake
		}
	}
}

func (s *scribe) next() (key recordName, w *writing, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w == nil && len(s.awaited)+len(s.others) > 0 {
		lane, inARow := &s.awaited, s.inARow+1
		if len(s.awaited) == 0 || len(s.others) > 0 && s.inARow >= othersAfter {
			lane, inARow = &s.others, 0
		}
		key, *lane = (*lane)[0], (*lane)[1:]
		if w = s.pending[key]; w != nil { // else its place was void
			delete(s.pending, key)
			s.inARow = inARow
		}
	}
	return key, w, s.closed
}

func (s *scribe) write(key recordName, w *writing) error {
	if w.value == nil {
		return s.shelf.Remove(key.name, key.ext)
	}
	return s.shelf.Store(key.name, key.ext, w.value, w.lasting)
}
