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
			if n = bytes.LastIndexByte(data, '\n') + 1; n == 0 {
				n = len(data)
			}
			s.aligned.Store(data[n-1] == '\n')
		default: // no look into the pipe: take what comes
			s.aligned.Store(false)
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
	w.pump.mu.Lock()
	if s.missing == 0 {
		s.missingSince = time.Now()
	}
	s.missing += uint64(n)
	w.pump.mu.Unlock()
	s.dropped.Add(uint64(n))
	s.moved.Add(uint64(n))
}

// gap is how many bytes were dropped that the log does not tell of yet, and since when.
func (s *Stream) gap() (missing uint64, since time.Time) {
	s.pump.mu.Lock()
	defer s.pump.mu.Unlock()
	return s.missing, s.missingSince
}

// told takes the bytes that the log tells of off the gap, and returns those that were dropped in the meantime, by a
// worker that found the one who told stuck.
func (s *Stream) told(n uint64) (missing uint64) {
	s.pump.mu.Lock()
	defer s.pump.mu.Unlock()
	s.missing -= n
	s.missingSince = time.Now()
	return s.missing
}

// recover tries whether a log that took nothing takes output again, and drops what has come meanwhile if it does not.
func (w *worker) recover(s *Stream) result {
	if time.Now().Before(s.retryAt) {
		return result{empty: w.drop(s)}
	}
	missing, since := s.gap()
	if missing == 0 {
		before := s.moved.Load()
		r := w.move(s)
		r.resumed = r.empty || s.moved.Load() > before
		if r.err != nil && !r.resumed {
			w.drop(s)
		}
		return r
	}
	if !s.aligned.Load() {
		w.drop(s)
		missing, since = s.gap()
	}
	next, err := w.look(s)
	if err == nil && next == nil {
		err = w.mark(s, missing, since)
	}
	switch {
	case err != nil:
		w.drop(s)
		return result{err: err}
	case next != nil:
		return result{next: next}
	}
	return result{resumed: s.told(missing) == 0}
}

// mark writes into the log how much is missing at this place.
func (w *worker) mark(s *Stream, missing uint64, since time.Time) error {
	sys, fd := w.pump.sys, int(s.log.Fd())
	const stamp = "2006-01-02T15:04:05Z"
	line := fmt.Sprintf("[pairguard] %d bytes of output are missing here, from %s to %s\n",
		missing, since.UTC().Format(stamp), time.Now().UTC().Format(stamp))
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
	s.note(fmt.Sprintf("log %s takes output again: %d bytes were dropped", s.spec.Path, missing))
	return nil
}
