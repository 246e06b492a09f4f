package output

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// chunk is how many bytes one splice may move; a pipe holds less by default.
	chunk = 1 << 20
	// rounds is how many system calls one turn may use for moving before the next stream has its turn.
	rounds = 16
	// retryEvery is how often a log that failed is tried again.
	retryEvery = 250 * time.Millisecond
)

// worker is the goroutine that waits for events and does the turns. One that is
// stuck in a turn is replaced, and ends after it.
type worker struct {
	pump    *Pump
	scratch [2]int // a pipe to look at what is in other pipes; -1 until it is needed
	buffer  []byte
	st      unix.Stat_t
	events  [64]unix.EpollEvent
	tended  time.Time
	full    bool // in this round some pipe filled up so fast that there is no time for a nap
	carried bool // in this round something was moved

	// Owned by pump.mu.
	stream   *Stream // the turn that goes on
	began    time.Time
	dropping bool // it only takes bytes away, as another worker is stuck with this stream or its file system
	stuck    bool
	device   uint64 // on which it is stuck
}

func (w *worker) run() {
	defer w.pump.done.Done()
	defer w.closeScratch()
	for w.wait() {
		w.full, w.carried = false, false
		if !w.round() {
			return
		}
		if w.carried && !w.full {
			time.Sleep(nap)
		}
	}
}

// wait waits until a stream can have a turn, and reports whether there is more to do at all.
func (w *worker) wait() bool {
	p := w.pump
	p.mu.Lock()
	timeout := -1
	switch {
	case p.closed:
		p.mu.Unlock()
		return false
	case len(p.queue) > 0:
		timeout = 0
	case len(p.troubled) > 0:
		timeout = int(tick / time.Millisecond)
	}
	p.mu.Unlock()
	n, _ := retry(func() (int, error) { return unix.EpollWait(p.epoll, w.events[:], timeout) })
	p.mu.Lock()
	for _, e := range w.events[:max(n, 0)] {
		token := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
		if token == 0 {
			var count [8]byte
			_, _ = unix.Read(p.bell, count[:])
		} else if s := p.streams[token]; s != nil {
			p.enqueue(s)
		}
	}
	troubled := len(p.troubled) > 0
	p.mu.Unlock()
	if now := time.Now(); troubled && now.Sub(w.tended) >= tick {
		w.tended = now
		p.tend(now)
	}
	return true
}

// round gives each stream in the queue a turn, and reports whether this is still the pump's worker.
func (w *worker) round() bool {
	p := w.pump
	ours := true
	p.mu.Lock() // not deferred: turn gives it up in between
	for left := len(p.queue); ours && left > 0 && len(p.queue) > 0; left-- {
		s := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		s.queued = false
		ours = !w.begin(s) || w.turn(s)
	}
	p.mu.Unlock()
	return ours
}

// begin prepares a turn, if there can be one; mu is held.
func (w *worker) begin(s *Stream) bool {
	p := w.pump
	if s.closed || s.handing || s.dropBusy {
		return false
	}
	now := time.Now()
	w.dropping = s.busy || p.hung[s.device.Load()] > 0
	if w.dropping {
		p.trouble(s, now, nil)
		if !s.dropping {
			return false
		}
		s.dropBusy = true
	} else {
		if !s.dropping && now.Before(s.retryAt) {
			return false
		}
		s.busy = true
	}
	w.stream, w.began = s, now
	p.arm(p.patience)
	return true
}

// result is how a turn ended.
type result struct {
	empty   bool     // the pipe has nothing more
	next    *os.File // the log to go on with, once it is handed over
	err     error    // why the log takes nothing
	resumed bool     // the log takes output again
}

// turn moves what a stream has, and reports whether this is still the pump's worker. mu is held before and afterwards.
func (w *worker) turn(s *Stream) bool {
	p := w.pump
	dropping, onlyDrop := s.dropping, w.dropping
	before := s.moved.Load()
	if onlyDrop {
		s.waitForEmpty()
	}
	p.mu.Unlock()
	var r result
	switch {
	case onlyDrop:
		r.empty = w.drop(s)
	case dropping:
		s.measure()
		r = w.recover(s)
	default:
		s.measure()
		r = w.move(s)
	}
	p.mu.Lock()
	if moved := int(s.moved.Load() - before); moved > 0 {
		w.carried = true
		w.full = w.full || moved >= s.capacity/4
	}
	s.settle(r.empty)
	if !onlyDrop {
		w.conclude(s, r, s.moved.Load() > before)
	}
	if !r.empty && r.err == nil && r.next == nil {
		p.enqueue(s)
	}
	replaced := p.back(w)
	if r.next != nil {
		p.handover(s, r.next)
	}
	return !replaced
}

// conclude keeps the books on streams in trouble after a turn; mu is held.
func (w *worker) conclude(s *Stream, r result, progress bool) {
	p, now := w.pump, time.Now()
	if r.resumed || !s.dropping && (progress || r.empty) {
		s.since, s.reason, s.dropping = time.Time{}, nil, false
		delete(p.troubled, s)
	}
	if r.err != nil && !s.closed {
		s.retryAt = now.Add(retryEvery)
		p.trouble(s, now, r.err)
	}
}

// handover lets the standby know the new log of a stream, and then goes on with it; mu is held.
func (p *Pump) handover(s *Stream, next *os.File) {
	if s.closed {
		next.Close()
		return
	}
	s.handing = true
	if s.hooks.Handover == nil {
		p.handedOver(s, next)
		return
	}
	go func() {
		if err := s.hooks.Handover(next); err != nil {
			s.note("log " + s.spec.Path + ": the standby does not have the new file: " + err.Error())
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.handedOver(s, next)
	}()
}

// handedOver makes next the log of a stream; mu is held.
func (p *Pump) handedOver(s *Stream, next *os.File) {
	s.handing = false
	if s.closed {
		next.Close()
		return
	}
	if s.log != nil {
		s.log.Close()
	}
	s.log = next
	p.enqueue(s)
	p.ring()
}

func (w *worker) closeScratch() {
	for i, fd := range w.scratch {
		if fd >= 0 {
			unix.Close(fd)
			w.scratch[i] = -1
		}
	}
}

// peek returns the first bytes of a pipe, at most n and no more than a pipe holds, and leaves them there. They are valid until the next call.
func (w *worker) peek(s *Stream, n int) ([]byte, error) {
	if w.scratch[0] < 0 {
		if err := unix.Pipe2(w.scratch[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			w.scratch = [2]int{-1, -1}
			return nil, err
		}
		w.buffer = make([]byte, 1<<16)
	}
	copied, err := w.pump.sys.tee(int(s.pipe.Fd()), w.scratch[1], min(n, len(w.buffer)))
	if err != nil || copied <= 0 {
		return nil, err
	}
	for got := 0; got < copied; {
		k, err := retry(func() (int, error) { return unix.Read(w.scratch[0], w.buffer[got:copied]) })
		if err != nil || k <= 0 {
			w.closeScratch() // what is left in it must not be taken for another's
			return nil, err
		}
		got += k
	}
	return w.buffer[:copied], nil
}
