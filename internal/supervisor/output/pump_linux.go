package output

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on: an edge-triggered epoll tells each write to a pipe that was
// empty or is watched so (Linux 5.5), and a pipe without writers once.

const (
	// patience is how long one turn of a stream may take before the other streams get another worker.
	patience = 250 * time.Millisecond
	// tick is how often streams in trouble are looked at.
	tick = 50 * time.Millisecond
	// nap lets output pile up, so that a program that writes many small lines costs few system calls. It is not taken
	// while a pipe fills up, and not before the first line after a silence.
	nap = 2 * time.Millisecond
)

// Pump moves the output of any number of programs into their logs, with one epoll
// set and one goroutine; while a file system hangs there is one more for it. Its
// methods, and those of its streams, may be called from any goroutine.
type Pump struct {
	sys         system
	epoll, bell int // bell is an eventfd that wakes the worker up
	null        *os.File
	patience    time.Duration
	done        sync.WaitGroup

	mu       sync.Mutex // never held during a system call on a log or a pipe
	closed   bool
	released bool
	streams  map[uint64]*Stream
	token    uint64
	queue    []*Stream            // whose turn it is
	troubled map[*Stream]struct{} // those that wait for their log
	hung     map[uint64]int       // devices on which a turn does not come back, and how many
	worker   *worker              // the one that waits for events; all others are stuck
	timer    *time.Timer          // looks at the turn that goes on
	armed    bool
}

// NewPump makes a pump without streams.
func NewPump() (*Pump, error) { return newPump(kernel{}) }

func newPump(sys system) (_ *Pump, err error) {
	p := &Pump{sys: sys, epoll: -1, bell: -1, patience: patience,
		streams: map[uint64]*Stream{}, troubled: map[*Stream]struct{}{}, hung: map[uint64]int{}}
	defer func() {
		if err != nil {
			p.release()
			err = fmt.Errorf("cannot prepare for the output of programs: %w", err)
		}
	}()
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if p.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, err
	}
	if err = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, p.bell, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return nil, err
	}
	if p.null, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
		return nil, err
	}
	p.timer = time.AfterFunc(time.Hour, p.lookAtTurn)
	p.timer.Stop()
	p.hire()
	return p, nil
}

// release gives back the pump's own descriptors.
func (p *Pump) release() {
	for _, fd := range []int{p.epoll, p.bell} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if p.null != nil {
		p.null.Close()
	}
}

// Add begins to move what comes out of pipe, and takes over both files in any case. The log may be one
// that has been rotated away or removed: the stream goes on with the one that is at spec.Path, and hands that over first.
// It may be nil: then the stream opens it, again and again if need be.
func (p *Pump) Add(pipe, log *os.File, spec LogSpec, hooks Hooks) (*Stream, error) {
	s := &Stream{pump: p, pipe: pipe, log: log, spec: spec.withDefaults(), hooks: hooks}
	capacity, err := unix.FcntlInt(pipe.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("output of %s: not a pipe: %w", spec.Path, err)
	}
	s.capacity = capacity
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		s.closeFiles()
		return nil, ErrClosed
	}
	p.token++
	s.token = p.token
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: int32(uint32(s.token)), Pad: int32(uint32(s.token >> 32))}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, int(pipe.Fd()), &event); err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("output of %s: epoll: %w", spec.Path, err)
	}
	p.streams[s.token] = s
	p.enqueue(s)
	p.ring()
	return s, nil
}

// Close closes all streams. What is in their pipes stays there. It waits for no file system that hangs.
func (p *Pump) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	p.timer.Stop()
	for _, s := range p.streams {
		s.close()
	}
	stuck := len(p.hung) > 0
	p.ring()
	p.mu.Unlock()
	if stuck {
		go p.finish()
		return
	}
	p.finish()
}

// finish ends the pump when its last goroutine has ended.
func (p *Pump) finish() {
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.released = true
	p.release()
}

// ring wakes up the worker; mu is held, so the bell is not closed.
func (p *Pump) ring() {
	if p.released {
		return
	}
	_, _ = unix.Write(p.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full is rung
}

// enqueue gives a stream a turn; mu is held.
func (p *Pump) enqueue(s *Stream) {
	if !s.queued && !s.closed {
		s.queued = true
		p.queue = append(p.queue, s)
	}
}

// hire starts the goroutine that waits for events from now on; mu is held, or nobody else knows the pump.
func (p *Pump) hire() {
	w := &worker{pump: p, scratch: [2]int{-1, -1}}
	p.worker = w
	p.done.Add(1)
	go w.run()
}

// lookAtTurn replaces the worker when the turn that it is in does not come back: its
// log's file system hangs. The turn goes on, and ends when the file system is back.
func (p *Pump) lookAtTurn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = false
	w := p.worker
	if p.closed || w.stream == nil {
		return
	}
	if left := p.patience - time.Since(w.began); left > 0 {
		p.arm(left)
		return
	}
	w.stuck = true
	s := w.stream
	if w.dropping {
		s.dropStuck = true
	} else {
		w.device = s.device.Load()
		p.hung[w.device]++
		p.trouble(s, w.began, nil)
	}
	p.hire()
}

// arm sets the timer that looks at the turn that goes on; mu is held.
func (p *Pump) arm(d time.Duration) {
	if !p.armed {
		p.armed = true
		p.timer.Reset(d)
	}
}

// back is the end of a turn that the worker w had begun; mu is held. It reports whether
// w was replaced meanwhile.
func (p *Pump) back(w *worker) bool {
	s := w.stream
	w.stream = nil
	if w.dropping {
		s.dropBusy, s.dropStuck = false, false
	} else {
		s.busy = false
	}
	if s.closed && !s.busy && !s.dropBusy {
		s.closeFiles()
	}
	if !w.stuck {
		return false
	}
	if !w.dropping {
		if p.hung[w.device]--; p.hung[w.device] == 0 {
			delete(p.hung, w.device)
		}
	}
	for s := range p.troubled { // the file system may be back for all of them
		p.enqueue(s)
	}
	p.enqueue(s)
	p.ring()
	return true
}

// trouble notes that a stream has something to say and cannot; mu is held.
func (p *Pump) trouble(s *Stream, now time.Time, err error) {
	if s.since.IsZero() {
		s.since = now
	}
	if err != nil {
		s.reason = err
	}
	p.troubled[s] = struct{}{}
}

// tend looks after the streams in trouble: who has to try again, whose output is dropped from now on.
func (p *Pump) tend(now time.Time) {
	var notes []func()
	p.mu.Lock()
	for s := range p.troubled {
		if s.closed {
			delete(p.troubled, s)
			continue
		}
		if !s.dropping && now.Sub(s.since) >= s.spec.Stall {
			s.dropping = true
			text := fmt.Sprintf("log %s took nothing for %v (%v): output is dropped until it does", s.spec.Path, s.spec.Stall, s.why())
			notes = append(notes, func() { s.note(text) })
		}
		p.enqueue(s)
	}
	p.mu.Unlock()
	for _, note := range notes {
		note()
	}
}

// forget takes a stream off the books; mu is held.
func (p *Pump) forget(s *Stream) {
	delete(p.streams, s.token)
	delete(p.troubled, s)
	p.queue = slices.DeleteFunc(p.queue, func(q *Stream) bool { return q == s })
}
