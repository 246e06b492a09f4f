package proc

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Relies on: a pidfd polls readable when its whole thread group has ended (Linux
// 5.3), and on epoll sets being pollable themselves, so that the Go poller waits
// for all pidfds through one descriptor.

// deaths watches the pidfds of all open handles.
var deaths watcher

// watcher is one epoll set and the one goroutine that waits on it. Both exist
// only while something is watched.
type watcher struct {
	mu      sync.Mutex // never held while a handle's lock is taken
	epoll   *os.File   // nil while nothing is watched
	watched map[uint64]*Handle
	token   uint64
}

// add begins to watch h, whose token it sets.
func (w *watcher) add(h *Handle) error {
	w.mu.Lock()
	err := w.insert(h)
	var idle *os.File
	if err != nil {
		idle = w.closeIfIdle()
	}
	w.mu.Unlock()
	if idle != nil {
		idle.Close()
	}
	return err
}

// insert is add with mu held.
func (w *watcher) insert(h *Handle) error {
	if w.epoll == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	w.token++
	h.sys.token = w.token
	// A token is never used twice, unlike a descriptor: an event that was read
	// before its handle was closed cannot be taken for another's.
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(w.token)), Pad: int32(uint32(w.token >> 32))}
	if err := w.control(unix.EPOLL_CTL_ADD, h.sys.pidfd, &event); err != nil {
		return fmt.Errorf("cannot watch process %d: epoll: %w", h.id.PID, err)
	}
	w.watched[w.token] = h
	return nil
}

// open makes the set and starts its goroutine; mu is held.
func (w *watcher) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot watch processes: epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or os.NewFile would not poll it
		unix.Close(fd)
		return fmt.Errorf("cannot watch processes: epoll: %w", err)
	}
	w.epoll = os.NewFile(uintptr(fd), "process handles")
	if w.watched == nil {
		w.watched = make(map[uint64]*Handle)
	}
	go w.run(w.epoll)
	return nil
}

// remove ends the watching of h and reports whether that was before its death.
func (w *watcher) remove(h *Handle) bool {
	w.mu.Lock()
	watched := w.forget(h.sys.token) != nil
	idle := w.closeIfIdle()
	w.mu.Unlock()
	if idle != nil {
		idle.Close() // ends the goroutine; waits for it to leave the set, so mu must be free
	}
	return watched
}

// forget takes one handle out of the set; mu is held. Only then may its pidfd be
// looked at without its own lock: nobody gives it back while it is in the map. The entry is deleted by
// name: closing the descriptor does not do it while a just-forked child of this
// process has a copy.
func (w *watcher) forget(token uint64) *Handle {
	h := w.watched[token]
	if h == nil {
		return nil
	}
	delete(w.watched, token)
	_ = w.control(unix.EPOLL_CTL_DEL, h.sys.pidfd, nil)
	return h
}

// closeIfIdle gives up the set when it is empty, and returns what to close once
// mu is free; mu is held.
func (w *watcher) closeIfIdle() *os.File {
	if len(w.watched) > 0 {
		return nil
	}
	idle := w.epoll
	w.epoll = nil
	return idle
}

func (w *watcher) control(op, pidfd int, event *unix.EpollEvent) error {
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.EpollCtl(int(fd), op, pidfd, event) }); err != nil {
		return err
	}
	return failed
}

// run waits on one set until it is given up.
func (w *watcher) run(epoll *os.File) {
	defer epoll.Close()
	raw, err := epoll.SyscallConn()
	if err != nil {
		return // closed already
	}
	var events [32]unix.EpollEvent
	_ = raw.Read(func(fd uintptr) bool { return w.drain(int(fd), epoll, events[:]) })
}

// drain handles all deaths that the set has to tell, and reports whether the set
// was given up.
func (w *watcher) drain(fd int, epoll *os.File, events []unix.EpollEvent) bool {
	for {
		n, err := unix.EpollWait(fd, events, 0)
		if err == syscall.EINTR {
			continue
		}
		for _, e := range events[:max(n, 0)] {
			w.died(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
		if n <= 0 {
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epoll != epoll
}

func (w *watcher) died(token uint64) {
	w.mu.Lock()
	h := w.forget(token)
	if h != nil {
		w.closeIfIdle() // run closes it
	}
	w.mu.Unlock()
	if h != nil {
		h.died()
	}
}
