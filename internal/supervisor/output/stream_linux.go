package output

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Stream is the way of one program's output into its log.
type Stream struct {
	pump     *Pump
	token    uint64
	pipe     *os.File
	spec     LogSpec
	hooks    Hooks
	capacity int // of the pipe, in bytes

	device  atomic.Uint64 // of the log's file system
	moved   atomic.Uint64 // bytes that left the pipe
	dropped atomic.Uint64 // those of them that did not reach the log

	aligned atomic.Bool // what was dropped last ended with a line

	// Owned by pump.mu.
	log          *os.File
	closed       bool
	queued       bool
	busy         bool // a worker is in a turn of this stream
	handing      bool // the standby is being given a new log
	dropBusy     bool // a worker takes bytes out to drop them; busy may be true at the same time
	dropStuck    bool // and does not come back
	dropping     bool
	missing      uint64 // bytes dropped of which the log does not tell yet
	missingSince time.Time
	since        time.Time // since when the log takes nothing; zero while it does
	reason       error     // why, when it said so
	waiters      []*waiter

	// Owned by whoever is in a turn of this stream.
	size      int64     // of the log
	looked    time.Time // when the log was last compared with what is at its path
	retryAt   time.Time // not before that is a failing log tried again
	rotateAt  time.Time // not before that is a rotation tried again that failed
	copying   bool      // this file system does not take spliced output
	complaint string    // the last note about something that is tried again and again
}

// waiter waits in Drained.
type waiter struct {
	known  bool
	target uint64 // of moved
	done   chan struct{}
	err    error
}

// Drained returns when all that was in the pipe at the call is in the log, or
// dropped by rule and counted. It returns ErrClosed when the stream is closed first, or the end of ctx.
func (s *Stream) Drained(ctx context.Context) error {
	w := &waiter{done: make(chan struct{})}
	p := s.pump
	p.mu.Lock()
	if s.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	s.waiters = append(s.waiters, w)
	p.enqueue(s)
	p.ring()
	p.mu.Unlock()
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		p.mu.Lock()
		s.waiters = slices.DeleteFunc(s.waiters, func(o *waiter) bool { return o == w })
		p.mu.Unlock()
		return ctx.Err()
	}
}

// measure sets the targets of those who began to wait. Nobody else moves bytes of this stream meanwhile.
func (s *Stream) measure() {
	p := s.pump
	p.mu.Lock()
	fresh := slices.ContainsFunc(s.waiters, func(w *waiter) bool { return !w.known })
	waiting := slices.Clone(s.waiters)
	p.mu.Unlock()
	if !fresh {
		return
	}
	n, err := unix.IoctlGetInt(int(s.pipe.Fd()), unix.TIOCINQ)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range waiting {
		switch {
		case w.known || !slices.Contains(s.waiters, w):
		case err != nil:
			s.answer(w, fmt.Errorf("output of %s: %w", s.spec.Path, err))
		default:
			w.known, w.target = true, s.moved.Load()+uint64(n)
		}
	}
}

// waitForEmpty is measure for a turn that is not alone with the pipe: those who wait are told when it is found empty; mu is held.
func (s *Stream) waitForEmpty() {
	for _, w := range s.waiters {
		if !w.known {
			w.known, w.target = true, math.MaxUint64
		}
	}
}

// answer ends a wait; mu is held.
func (s *Stream) answer(w *waiter, err error) {
	w.err = err
	close(w.done)
	s.waiters = slices.DeleteFunc(s.waiters, func(o *waiter) bool { return o == w })
}

// settle ends the waits that have come to their end, all that began before this turn if it found the
// pipe empty; mu is held.
func (s *Stream) settle(empty bool) {
	for _, w := range slices.Clone(s.waiters) {
		if w.known && (empty || s.moved.Load() >= w.target) {
			s.answer(w, nil)
		}
	}
}

// Close ends the stream. What is in the pipe stays there.
func (s *Stream) Close() {
	s.pump.mu.Lock()
	defer s.pump.mu.Unlock()
	s.close()
}

// close is Close with mu held.
func (s *Stream) close() {
	if s.closed {
		return
	}
	s.closed = true
	s.pump.forget(s)
	_ = unix.EpollCtl(s.pump.epoll, unix.EPOLL_CTL_DEL, int(s.pipe.Fd()), nil)
	for _, w := range slices.Clone(s.waiters) {
		s.answer(w, ErrClosed)
	}
	if !s.busy && !s.dropBusy { // else by the worker that is in it
		s.closeFiles()
	}
}

func (s *Stream) closeFiles() {
	s.pipe.Close()
	if s.log != nil {
		s.log.Close()
	}
}

// Log is the log file that the stream has now, nil if it has none. The stream closes it at the next rotation, after Handover
// was told the next one; duplicate it (SyscallConn) to keep it.
func (s *Stream) Log() *os.File {
	s.pump.mu.Lock()
	defer s.pump.mu.Unlock()
	return s.log
}

// Dropped is how many bytes this stream has dropped since Add.
func (s *Stream) Dropped() uint64 { return s.dropped.Load() }

// why says in words what keeps the log from taking output; mu is held.
func (s *Stream) why() string {
	var errno unix.Errno
	switch {
	case s.reason == nil:
		return "its file system does not answer"
	case errors.As(s.reason, &errno):
		return errno.Error()
	}
	return s.reason.Error()
}

func (s *Stream) note(text string) {
	if s.hooks.Note != nil {
		s.hooks.Note(text)
	}
}

// complain notes something once, however often it is found again; relieved forgets it.
func (s *Stream) complain(text string) {
	if s.complaint != text {
		s.complaint = text
		s.note(text)
	}
}

func (s *Stream) relieved() { s.complaint = "" }

// withDefaults is the spec with its zero values replaced.
func (s LogSpec) withDefaults() LogSpec {
	if s.Size <= 0 {
		s.Size = DefaultSize
	}
	switch {
	case s.Keep == 0:
		s.Keep = DefaultKeep
	case s.Keep < 0:
		s.Keep = 0
	}
	s.Keep = min(s.Keep, MaxKeep)
	if s.Stall <= 0 {
		s.Stall = DefaultStall
	}
	return s
}
