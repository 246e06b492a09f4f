package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

const (
	// quickest and slowest are how often a followed log is looked at: soon after it grew, and in the end.
	quickest = 10 * time.Millisecond
	slowest  = 100 * time.Millisecond
)

// End is the place where the log ends now: what Follow has to begin with to show only what comes. For a log
// that does not exist yet it is the zero Position.
func End(path string) (Position, error) {
	files, err := family(path)
	if err != nil || len(files) == 0 {
		return Position{}, err
	}
	p := files[0].id.position()
	p.Offset = files[0].size
	return p, nil
}

// Copy writes what is in the log at the time of the call, with all the older files before it if all is true. It returns the place that it came to, from
// where Follow goes on without a gap. A log that does not exist is an error that wraps fs.ErrNotExist.
func Copy(w io.Writer, spec LogSpec, all bool) (Position, error) {
	end, err := End(spec.Path)
	if err != nil {
		return Position{}, err
	}
	if end == (Position{}) {
		return end, &os.PathError{Op: "read log", Path: spec.Path, Err: fs.ErrNotExist}
	}
	from := end
	from.Offset = 0
	if all {
		from = Position{}
	}
	r := newReader(w, spec.Path)
	defer r.close()
	r.stop = &end
	if err := r.begin(from); err != nil {
		return Position{}, err
	}
	for {
		more, err := r.pass()
		if err != nil || !more {
			return r.position(), err
		}
	}
}

// Follow writes what is in the log from a place on, and what comes, each byte once and in order, across rotations,
// also when there were several since it last looked. A log that does not exist yet is waited for. When ctx ends it writes what is in the log by then and
// returns nil. What was rotated out of existence before it came to it is missing.
func Follow(ctx context.Context, w io.Writer, path string, from Position) error {
	r := newReader(w, path)
	defer r.close()
	if err := r.begin(from); err != nil {
		return err
	}
	pause := quickest
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		before := r.total
		if ctx.Err() != nil && r.stop == nil {
			end, err := End(path)
			if err != nil {
				return err
			}
			r.stop = &end
		}
		more, err := r.pass()
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if r.stop != nil {
			return nil
		}
		if pause = min(2*pause, slowest); r.total > before {
			pause = quickest
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// reader reads a log through its rotations. Invariant: all in files of the family that
// are in read has been written or was skipped on purpose, and so has file up to offset.
type reader struct {
	w      io.Writer
	path   string
	file   *os.File // nil until there is one
	id     identity
	offset int64
	read   map[identity]bool
	stop   *Position // nothing after it is wanted
	total  int64
	buffer []byte
}

func newReader(w io.Writer, path string) *reader {
	return &reader{w: w, path: path, read: map[identity]bool{}, buffer: make([]byte, 1<<16)}
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
	}
}

func (r *reader) position() Position {
	p := r.id.position()
	p.Offset = r.offset
	return p
}

// begin goes to a place. Files older than that are not wanted; if the place itself is gone, all are that were
// made after it.
func (r *reader) begin(from Position) error {
	if from == (Position{}) {
		return nil
	}
	start := identityOf(from)
	files, err := family(r.path)
	if err != nil {
		return err
	}
	r.read[start] = true
	found := false
	for _, f := range files {
		found = found || f.id == start
		if found && f.id != start || !found && f.id.born < start.born {
			r.read[f.id] = true
		}
	}
	if !found {
		return nil
	}
	file, err := openMember(r.path, start)
	if err == nil && file != nil {
		r.file, r.id, r.offset = file, start, from.Offset
	}
	return err
}

// pass writes what the present file has and goes on to the next one if this one has come to its end. It reports whether
// there is more to read at once.
func (r *reader) pass() (more bool, err error) {
	if r.file == nil {
		return r.advance()
	}
	stopped, err := r.drain()
	if err != nil || stopped {
		return false, err
	}
	current, err := identify(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // in the middle of a rotation, or removed: nothing says that this file is complete
		return false, nil
	case err != nil:
		return false, err
	case current.id == r.id:
		return false, nil
	}
	// Its successor is there, so nothing is added to it any more; what was added since we read it is read now.
	if stopped, err = r.drain(); err != nil || stopped {
		return false, err
	}
	return r.advance()
}

// drain writes the rest of the present file. It reports whether that was all that is wanted.
func (r *reader) drain() (stopped bool, err error) {
	for {
		limit := int64(len(r.buffer))
		if r.stop != nil && identityOf(*r.stop) == r.id {
			if limit = min(limit, r.stop.Offset-r.offset); limit <= 0 {
				return true, nil
			}
		}
		n, err := r.file.ReadAt(r.buffer[:limit], r.offset)
		if n > 0 {
			r.offset += int64(n)
			r.total += int64(n)
			if _, err := r.w.Write(r.buffer[:n]); err != nil {
				return false, err
			}
			continue
		}
		if err != io.EOF {
			return false, fmt.Errorf("read log %s: %w", r.path, err)
		}
		if info, err := r.file.Stat(); err != nil || info.Size() >= r.offset {
			return false, err
		}
		r.offset = 0 // somebody emptied it
	}
}

// advance opens the oldest file that has not been read. It reports whether there is one.
func (r *reader) advance() (bool, error) {
	for {
		files, err := family(r.path)
		if err != nil {
			return false, err
		}
		if r.file != nil {
			r.read[r.id] = true
		}
		present := map[identity]bool{}
		var next *member
		for i, f := range files {
			if r.read[f.id] {
				present[f.id] = true // what is gone is forgotten, as its inode may come back
			} else {
				next = &files[i]
			}
		}
		if next == nil {
			return false, nil
		}
		file, err := openMember(r.path, next.id)
		if err != nil {
			return false, err
		}
		if file == nil {
			continue // rotated out of existence just now
		}
		r.close()
		r.read, r.file, r.id, r.offset = present, file, next.id, 0
		return true, nil
	}
}
