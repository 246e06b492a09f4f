package pairdir

import (
	"os"
	"sync"
)

// registry knows the names that this process holds or is about to hold, by the
// path of the lock file. A record lock is lost when its process closes any
// descriptor of the file, so that nothing may open one that stands here.
type registry struct {
	mu      sync.Mutex
	entries map[string]*claiming
}

// claiming is one name; settled is closed once it is held or given up.
type claiming struct {
	path    string
	settled chan struct{}
	claim   *Claim // valid after settled
}

var claims = registry{entries: make(map[string]*claiming)}

// enter reserves path for a claim of the caller, who must call settle. While
// somebody else is claiming it, enter waits for the outcome. It fails when the
// name is held.
func (r *registry) enter(path string) (*claiming, error) {
	for {
		r.mu.Lock()
		e := r.entries[path]
		if e == nil {
			e = &claiming{path: path, settled: make(chan struct{})}
			r.entries[path] = e
			r.mu.Unlock()
			return e, nil
		}
		r.mu.Unlock()
		<-e.settled
		if e.claim != nil && r.held(path) == e.claim {
			return nil, &heldError{pid: os.Getpid()}
		}
	}
}

// settle records the outcome of claiming; a nil claim makes the path free again.
func (r *registry) settle(e *claiming, c *Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.claim = c
	if c == nil {
		delete(r.entries, e.path)
	}
	close(e.settled)
}

// held returns the claim on path, or nil. It waits for one that is being made.
func (r *registry) held(path string) *Claim {
	r.mu.Lock()
	e := r.entries[path]
	r.mu.Unlock()
	if e == nil {
		return nil
	}
	<-e.settled
	return e.claim
}

func (r *registry) leave(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, path)
}

func (d *Dir) holding(n Name) bool { return claims.held(d.file(n, ".lock")) != nil }

// Holder is who holds a name.
type Holder struct {
	Held bool
	PID  int // 0: nobody, or a process that cannot be seen from here
}

// Holder asks the kernel who holds n. A process that is about to be turned away
// from the name may be reported for an instant.
func (d *Dir) Holder(n Name) (Holder, error) {
	path := d.file(n, ".lock")
	entry, err := claims.enter(path) // nobody here may claim it while its file is open
	if err != nil {
		return Holder{Held: true, PID: os.Getpid()}, nil
	}
	defer claims.settle(entry, nil)
	held, pid, err := holderOf(path)
	if err != nil {
		return Holder{}, err
	}
	if !held {
		held, pid = tetherHolder(d.path, n.key)
	}
	return Holder{Held: held, PID: pid}, nil
}
