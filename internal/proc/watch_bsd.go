//go:build darwin || freebsd

package proc

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Relies on: a kqueue descriptor being an event source of another kqueue. One
// thread waits for all handles, and none while there are none.

// deaths watches the processes of all open handles.
var deaths watcher

// watcher is two queues: exits tells of the deaths and is read under mu alone, so
// that nobody holds an event of a number that was registered again meanwhile;
// ready says when there is something to read.
type watcher struct {
	mu      sync.Mutex
	open    bool
	exits   int
	ready   int
	watched map[int][]*Handle // by number; the same process may have several handles
}

// wake is the user event that ends the goroutine.
const wake = 1

// add begins to watch h. ESRCH: its process does not exist, or is a zombie.
func (w *watcher) add(h *Handle) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open {
		if err := w.begin(); err != nil {
			return err
		}
	}
	w.drain() // an undelivered event of the same number would swallow the registration
	if err := w.register(h.id.PID); err != nil {
		w.endIfIdle()
		return err
	}
	w.watched[h.id.PID] = append(w.watched[h.id.PID], h)
	return nil
}

func (w *watcher) register(pid int) error {
	var e unix.Kevent_t
	unix.SetKevent(&e, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	e.Fflags = unix.NOTE_EXIT
	_, err := kevent(w.exits, []unix.Kevent_t{e}, nil, nil)
	return err
}

// begin makes the queues and starts the goroutine; mu is held.
func (w *watcher) begin() error {
	exits, err := queue()
	if err != nil {
		return err
	}
	ready, err := queue()
	if err != nil {
		unix.Close(exits)
		return err
	}
	changes := make([]unix.Kevent_t, 2)
	unix.SetKevent(&changes[0], exits, unix.EVFILT_READ, unix.EV_ADD)
	unix.SetKevent(&changes[1], wake, unix.EVFILT_USER, unix.EV_ADD)
	if _, err := kevent(ready, changes, nil, nil); err != nil {
		unix.Close(exits)
		unix.Close(ready)
		return err
	}
	w.open, w.exits, w.ready = true, exits, ready
	if w.watched == nil {
		w.watched = make(map[int][]*Handle)
	}
	go w.run(exits, ready)
	return nil
}

func queue() (int, error) {
	fd, err := unix.Kqueue()
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd) // a forked child does not inherit a kqueue in any case
	return fd, nil
}

// remove ends the watching of h.
func (w *watcher) remove(h *Handle) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pid := h.id.PID
	kept := w.watched[pid][:0:0]
	for _, other := range w.watched[pid] {
		if other != h {
			kept = append(kept, other)
		}
	}
	if len(kept) == len(w.watched[pid]) {
		return
	}
	w.watched[pid] = kept
	if len(kept) == 0 {
		delete(w.watched, pid)
		var e unix.Kevent_t
		unix.SetKevent(&e, pid, unix.EVFILT_PROC, unix.EV_DELETE)
		_, _ = kevent(w.exits, []unix.Kevent_t{e}, nil, nil)
	}
	w.endIfIdle()
}

// endIfIdle gives the queues up when nothing is watched; mu is held. The goroutine
// closes them.
func (w *watcher) endIfIdle() {
	if !w.open || len(w.watched) > 0 {
		return
	}
	w.open = false
	var e unix.Kevent_t
	unix.SetKevent(&e, wake, unix.EVFILT_USER, 0)
	e.Fflags = unix.NOTE_TRIGGER
	_, _ = kevent(w.ready, []unix.Kevent_t{e}, nil, nil)
}

// run waits until the queues are given up.
func (w *watcher) run(exits, ready int) {
	defer unix.Close(exits)
	defer unix.Close(ready)
	events := make([]unix.Kevent_t, 2)
	for {
		n, err := kevent(ready, nil, events, nil)
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			if e.Filter == unix.EVFILT_USER {
				return
			}
		}
		w.mu.Lock()
		if w.open && w.exits == exits {
			w.drain()
			w.endIfIdle()
		}
		w.mu.Unlock()
	}
}

// drain handles all deaths that the queue has to tell; mu is held.
func (w *watcher) drain() {
	events := make([]unix.Kevent_t, 32)
	for {
		n, err := kevent(w.exits, nil, events, &unix.Timespec{})
		if err != nil || n == 0 {
			return
		}
		for _, e := range events[:n] {
			w.ended(int(e.Ident), exitOf(&e))
		}
	}
}

// ended takes out the handles whose process is dead. One whose process lives has
// its number from the dead one, and is registered again.
func (w *watcher) ended(pid int, exit ExitStatus) {
	var alive []*Handle
	for _, h := range w.watched[pid] {
		now, err := readState(pid)
		if err == nil && !now.dead && now.start == h.id.Start && !h.sys.child && w.register(pid) == nil {
			alive = append(alive, h)
			continue
		}
		h.died(exit)
	}
	if alive == nil {
		delete(w.watched, pid)
		return
	}
	w.watched[pid] = alive
}

// kevent waits again when a signal interrupts it.
func kevent(queue int, changes, events []unix.Kevent_t, timeout *unix.Timespec) (int, error) {
	for {
		n, err := unix.Kevent(queue, changes, events, timeout)
		if err != unix.EINTR {
			return n, err
		}
	}
}
