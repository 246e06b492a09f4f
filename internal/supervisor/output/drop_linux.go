package output

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// drop takes whole lines out of the pipe, or all there is if no line ends in it, and counts them. It reports
// whether nothing to drop was left.
func (w *worker) drop(s *Stream) (empty bool) {
	for range rounds {
		n := 1 << 16
		data, err := w.peek(s, n)
		switch {
		case err == unix.EAGAIN || err == nil && len(data) == 0:
			return true
		case err == nil:
			n = bytes.LastIndexByte(data, '\n') + 1
			s.aligned = n > 0
			if n == 0 {
				n = len(data)
			}
		default: // no look into the pipe: take what comes
			s.aligned = false
		}
		for n > 0 {
			gone, err := w.pump.sys.discard(int(s.pipe.Fd()), int(w.pump.null.Fd()), n)
			if err != nil || gone <= 0 {
				return true
			}
			w.countDropped(s, gone)
			n -= gone
		}
	}
	return false
}

func (w *worker) countDropped(s *Stream, n int) {
	if s.dropCount == 0 {
		s.dropFirst = time.Now()
	}
	s.dropCount += uint64(n)
	s.dropped.Add(uint64(n))
	s.moved.Add(uint64(n))
}

// recover tries whether a log that took nothing takes output again, and drops what has come meanwhile if it does not.
func (w *worker) recover(s *Stream) result {
	if time.Now().Before(s.retryAt) {
		return result{empty: w.drop(s)}
	}
	if s.dropCount == 0 { // nothing is missing yet
		before := s.moved.Load()
		r := w.move(s)
		r.resumed = r.empty || s.moved.Load() > before
		if r.err != nil && !r.resumed {
			w.drop(s)
		}
		return r
	}
	if !s.aligned {
		w.drop(s)
	}
	next, err := w.look(s)
	if err == nil && next == nil {
		err = w.mark(s)
	}
	if err != nil {
		w.drop(s)
		return result{err: err}
	}
	return result{next: next, resumed: next == nil}
}

// mark writes into the log how much is missing at this place.
func (w *worker) mark(s *Stream) error {
	sys, fd := w.pump.sys, int(s.log.Fd())
	const stamp = "2006-01-02T15:04:05Z"
	line := fmt.Sprintf("[pairguard] %d bytes of output are missing here, from %s to %s\n",
		s.dropCount, s.dropFirst.UTC().Format(stamp), time.Now().UTC().Format(stamp))
	if s.size > 0 && !w.endsLine(s) {
		line = "\n" + line
	}
	n, err := sys.pwrite(fd, []byte(line), s.size)
	if err == nil && n < len(line) {
		err = unix.ENOSPC
	}
	if err != nil {
		if n > 0 {
			_ = sys.truncate(fd, s.size) // half a note says nothing
		}
		return &os.PathError{Op: "write log", Path: s.spec.Path, Err: err}
	}
	s.note(fmt.Sprintf("log %s takes output again: %d bytes were dropped", s.spec.Path, s.dropCount))
	s.dropCount, s.aligned = 0, false
	return nil
}
