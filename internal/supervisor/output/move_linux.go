package output

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is how often the log of a stream that has output is compared with what is at its path.
	lookEvery = time.Second
	// rotateAgain is how long a rotation that failed is put off.
	rotateAgain = time.Second
)

// move brings what is in the pipe into the log.
func (w *worker) move(s *Stream) result {
	for range rounds {
		if next, err := w.look(s); next != nil || err != nil {
			return result{next: next, err: err}
		}
		n, next, err := w.room(s)
		if next != nil || err != nil {
			return result{next: next, err: err}
		}
		moved := 0
		if n > 0 {
			moved, err = w.carry(s, n)
		}
		if err == unix.EAGAIN || err == nil && moved <= 0 {
			return result{empty: true}
		}
		s.moved.Add(uint64(max(moved, 0)))
		if err != nil {
			return result{err: err}
		}
	}
	return result{}
}

// look finds out how long the log is and whether it still is the one at its path. If not it returns
// the one to go on with.
func (w *worker) look(s *Stream) (next *os.File, err error) {
	sys := w.pump.sys
	if s.log == nil {
		return openLog(sys, s.spec.Path)
	}
	if err := sys.fstat(int(s.log.Fd()), &w.st); err != nil {
		return nil, err
	}
	s.device.Store(uint64(w.st.Dev))
	s.size = w.st.Size
	device, inode, gone := w.st.Dev, w.st.Ino, w.st.Nlink == 0
	now := time.Now()
	if !gone && now.Sub(s.looked) < lookEvery {
		return nil, nil
	}
	s.looked = now
	if !gone {
		err := sys.stat(s.spec.Path, &w.st)
		if err == nil && w.st.Dev == device && w.st.Ino == inode || err != nil && err != unix.ENOENT {
			return nil, nil
		}
	}
	next, err = openLog(sys, s.spec.Path)
	if err != nil && !gone {
		s.complain(fmt.Sprintf("log %s was renamed and cannot be made again, output goes into the renamed one: %v", s.spec.Path, err))
		return nil, nil
	}
	return next, err
}

// room says how many bytes may go into the log at once: to its size, then to the end of the line. Where it has to end it returns the next log.
// 0 bytes means that the pipe is empty.
func (w *worker) room(s *Stream) (n int, next *os.File, err error) {
	limit := s.spec.Size
	if s.size < limit {
		return int(min(limit-s.size, chunk)), nil, nil
	}
	now := time.Now()
	if now.Before(s.rotateAt) {
		return chunk, nil, nil
	}
	if s.size < 2*limit && !w.endsLine(s) {
		data, err := w.peek(s, 1<<16)
		if err != nil && err != unix.EAGAIN {
			return w.putOff(s, now, err)
		}
		n := len(data)
		if end := bytes.IndexByte(data, '\n'); end >= 0 {
			n = end + 1
		}
		return int(min(int64(n), 2*limit-s.size)), nil, nil
	}
	if next, err = w.rotate(s); err != nil {
		return w.putOff(s, now, err)
	}
	s.relieved()
	return 0, next, nil
}

func (w *worker) putOff(s *Stream, now time.Time, err error) (int, *os.File, error) {
	s.rotateAt = now.Add(rotateAgain)
	s.complain(fmt.Sprintf("log %s grows beyond its size, it cannot be rotated now: %v", s.spec.Path, err))
	return chunk, nil, nil
}

func (w *worker) endsLine(s *Stream) bool {
	var last [1]byte
	n, err := w.pump.sys.pread(int(s.log.Fd()), last[:], s.size-1)
	return n == 1 && err == nil && last[0] == '\n'
}

// carry takes at most n bytes from the pipe to the end of the log.
func (w *worker) carry(s *Stream, n int) (int, error) {
	sys := w.pump.sys
	if !s.copying {
		moved, err := sys.splice(int(s.pipe.Fd()), int(s.log.Fd()), s.size, n)
		if err != unix.EINVAL {
			return moved, err
		}
		s.copying = true
		s.note(fmt.Sprintf("log %s: its file system takes no spliced output: if a supervisor is killed, up to 64 KiB can be in the log twice", s.spec.Path))
	}
	data, err := w.peek(s, n)
	if err != nil || len(data) == 0 {
		return 0, err
	}
	written, err := sys.pwrite(int(s.log.Fd()), data, s.size)
	taken := 0
	for taken < written {
		k, err := sys.discard(int(s.pipe.Fd()), int(w.pump.null.Fd()), written-taken)
		if err != nil || k <= 0 {
			return taken, err
		}
		taken += k
	}
	if taken > 0 {
		return taken, nil
	}
	return 0, err
}

// rotate moves the logs on by one and returns the new one. Between any two calls of it the files are in an
// order that the next rotation and all readers understand.
func (w *worker) rotate(s *Stream) (*os.File, error) {
	sys, path := w.pump.sys, s.spec.Path
	s.looked = time.Time{}
	if next, err := w.look(s); next != nil || err != nil { // somebody else took it away
		return next, err
	}
	// Opened first: without a descriptor or an inode for it the rotation has to wait, with all files where they are.
	next, err := sys.openLog(path+".next", unix.O_TRUNC)
	if err != nil {
		return nil, err
	}
	if err := w.shift(s); err != nil {
		next.Close()
		return nil, err
	}
	if err := sys.rename(path+".next", path); err != nil {
		next.Close()
		return openLog(sys, path)
	}
	return next, nil
}

// shift moves LOG to LOG.1, LOG.1 to LOG.2 and so on up to the first gap. Only where there is none
// is the oldest one overwritten.
func (w *worker) shift(s *Stream) error {
	sys, path, keep := w.pump.sys, s.spec.Path, s.spec.Keep
	older := func(k int) string { return path + "." + strconv.Itoa(k) }
	for k := keep + 1; sys.remove(older(k)) == nil; k++ { // Keep was more before
	}
	if keep == 0 {
		return sys.remove(path)
	}
	gap := 1
	for gap < keep && sys.stat(older(gap), &w.st) != unix.ENOENT {
		gap++
	}
	for k := gap - 1; k >= 1; k-- {
		if err := sys.rename(older(k), older(k+1)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return sys.rename(path, older(1))
}
