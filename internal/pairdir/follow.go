package pairdir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Events returns all events of all names, oldest first. Lines that cannot be
// read are skipped; then the error is an *UnreadableError beside the events.
func (d *Dir) Events() ([]Record, error) {
	f := follower{dir: d, files: make(map[string]*tail)}
	defer f.close()
	records, err := f.poll()
	if err == nil && f.unreadable > 0 {
		err = &UnreadableError{Lines: f.unreadable}
	}
	return records, err
}

// Follow calls fn with all events that are there, oldest first, and then with
// each one that is added, until ctx ends; it returns nil then. New events are
// looked for five times a second, across rotations, in the order of their times
// within one look. fn runs on the caller's goroutine.
func (d *Dir) Follow(ctx context.Context, fn func(Record)) error {
	f := follower{dir: d, files: make(map[string]*tail)}
	defer f.close()
	tick := time.NewTicker(followPeriod)
	defer tick.Stop()
	for {
		records, err := f.poll()
		if err != nil {
			return err
		}
		for _, r := range records {
			fn(r)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

const followPeriod = 200 * time.Millisecond

// follower reads what is new in all event logs of a folder.
type follower struct {
	dir        *Dir
	files      map[string]*tail // by path of the current log
	unreadable int
}

// poll returns the events added since the last call, oldest first.
func (f *follower) poll() ([]Record, error) {
	entries, err := os.ReadDir(f.dir.path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil // removed; somebody will make it again
		}
		return nil, fmt.Errorf("folder %s: %w", f.dir.path, err)
	}
	var records []Record
	seen := func(line []byte) {
		r, err := parseEvent(line)
		if err != nil {
			f.unreadable++
			return
		}
		records = append(records, r)
	}
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), oldLogSuffix)
		if !ok {
			base, ok = strings.CutSuffix(e.Name(), logSuffix)
		}
		if !ok {
			continue
		}
		path := filepath.Join(f.dir.path, base)
		t := f.files[path]
		if t == nil {
			t = &tail{path: path + logSuffix, old: path + oldLogSuffix}
			f.files[path] = t
		}
		t.poll(seen)
	}
	slices.SortStableFunc(records, func(a, b Record) int { return a.Time.Compare(b.Time) })
	return records, nil
}

func (f *follower) close() {
	for _, t := range f.files {
		t.shut()
	}
}

// tail reads one name's logs line by line: the current one through an open
// descriptor, so that a rotation loses nothing.
type tail struct {
	path, old string
	file      *os.File
	info      os.FileInfo // of file
	last      os.FileInfo // the file that was read to its end last; nil: none
	line      []byte      // begun, not yet ended
	skip      bool        // within an over-long line
}

func (t *tail) poll(seen func([]byte)) {
	if t.file != nil {
		t.drain(seen)
		now, err := os.Lstat(t.path)
		if err == nil && os.SameFile(now, t.info) {
			t.rewound(seen)
			return
		}
		t.drain(seen) // written between the first drain and the rotation
		t.last = t.info
		t.finish(seen)
	}
	// The current file is held before the older one is looked at: one that is
	// rotated in between is still read.
	t.open(t.path)
	if o := (tail{path: t.old}); o.open(o.path) {
		if known(o.info, t.last) || known(o.info, t.info) {
			o.shut()
		} else {
			t.last = o.info
			o.drain(seen)
			o.finish(seen)
		}
	}
	t.drain(seen)
}

func known(info, read os.FileInfo) bool { return read != nil && os.SameFile(info, read) }

// open reports whether there is a file now; otherwise the next look may find it.
func (t *tail) open(path string) bool {
	f, err := openShared(path)
	if err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return false
	}
	t.file, t.info = f, info
	return true
}

// drain reads to the end of the file and hands over the lines that are whole.
func (t *tail) drain(seen func([]byte)) {
	if t.file == nil {
		return
	}
	chunk := make([]byte, 32<<10)
	for {
		n, err := t.file.Read(chunk)
		t.feed(chunk[:n], seen)
		if n == 0 || err != nil {
			return
		}
	}
}

func (t *tail) feed(b []byte, seen func([]byte)) {
	for len(b) > 0 {
		part, rest, ended := bytes.Cut(b, []byte{'\n'})
		b = rest
		if len(t.line)+len(part) > maxEventLine {
			t.skip, part = true, nil
		}
		t.line = append(t.line, part...)
		if !ended {
			return
		}
		if len(t.line) > 0 || t.skip {
			if t.skip {
				t.line = nil // not JSON: counted as unreadable
			}
			seen(t.line)
		}
		t.line, t.skip = t.line[:0], false
	}
}

// rewound starts again when somebody cut the file shorter.
func (t *tail) rewound(seen func([]byte)) {
	at, err := t.file.Seek(0, io.SeekCurrent)
	info, err2 := t.file.Stat()
	if err == nil && err2 == nil && info.Size() < at {
		_, _ = t.file.Seek(0, io.SeekStart)
		t.line, t.skip = nil, false
		t.drain(seen)
	}
}

// finish closes a file that gets no more lines; a line without end is one, too.
func (t *tail) finish(seen func([]byte)) {
	if len(t.line) > 0 {
		seen(t.line)
	}
	t.shut()
}

func (t *tail) shut() {
	if t.file != nil {
		_ = t.file.Close()
	}
	t.file, t.info, t.line, t.skip = nil, nil, nil, false
}
