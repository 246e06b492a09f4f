package pairdir

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"
)

const (
	logSuffix    = ".events.jsonl"
	oldLogSuffix = ".events.1.jsonl"
	// maxLog is the size at which an event log is rotated, in bytes.
	maxLog = 1 << 20
	// maxEventLine is the longest line that is read, in bytes.
	maxEventLine = 64 << 10
	// maxAppend is what is written at once, in bytes; one longer event is, too.
	maxAppend = 16 << 10
)

// Record is one event: a line of KEY.events.jsonl. The JSON names are stable.
type Record struct {
	Time       time.Time `json:"time"`
	Event      string    `json:"event"`
	Self       string    `json:"self"`
	Peer       string    `json:"peer"`
	PeerPID    int       `json:"peer_pid,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	AfterMS    *float64  `json:"after_ms,omitempty"` // milliseconds; nil: does not apply
	// Program is set on what happened to a program under guard, PID is its process
	// then; Self is the supervisor that tells.
	Program string `json:"program,omitempty"`
	PID     int    `json:"pid,omitempty"`
}

func parseEvent(line []byte) (r Record, err error) {
	if err := json.Unmarshal(line, &r); err != nil {
		return Record{}, err
	}
	if r.Event == "" || r.Time.IsZero() {
		return Record{}, errors.New("it has no event or no time")
	}
	return r, nil
}

// UnreadableError reports event lines that were skipped.
type UnreadableError struct{ Lines int }

// Error says how many.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("%d lines of the event logs cannot be read and were skipped", e.Lines)
}

// Log is the event log of one name, written by the holder of the name alone.
// Safe for concurrent use.
type Log struct {
	dir  *Dir
	path string
	old  string

	mu   sync.Mutex // guards the fields that follow
	file *os.File   // nil: closed, or to be opened again
	size int64
	torn bool // the last line lacks its end
	lost uint64
	end  bool
}

// OpenLog opens the event log of n for appending.
func (d *Dir) OpenLog(n Name) (*Log, error) {
	l := &Log{dir: d, path: d.file(n, logSuffix), old: d.file(n, oldLogSuffix)}
	return l, l.open()
}

// open opens the file at the log's path and finds out how it ends.
func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND|openNoWait, 0o600)
	if err != nil {
		return fmt.Errorf("event log %s: %w; remove it", l.path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("event log %s: %w; remove it", l.path, err)
	}
	keepRights(f)
	last := []byte{'\n'}
	if info.Size() > 0 {
		_, _ = f.ReadAt(last, info.Size()-1)
	}
	l.file, l.size, l.torn = f, info.Size(), last[0] != '\n'
	return nil
}

// Append writes events, as many with one write as fit into maxAppend; a full or broken
// disk loses an event, which is counted and reported; only where a torn write cannot be
// taken back, all that were written with it. It returns the first error. It waits for the
// disk if the disk hangs: call it where waiting does no harm.
func (l *Log) Append(records ...Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var failed error
	var lines [][]byte
	size := 0
	for _, r := range records {
		line, err := encodeEvent(r)
		if err != nil {
			l.lost++
			failed = cmp.Or(failed, fmt.Errorf("event log %s: %w", l.path, err))
			continue
		}
		if size+len(line) > maxAppend {
			failed = cmp.Or(failed, l.appendLines(lines))
			lines, size = nil, 0
		}
		lines, size = append(lines, line), size+len(line)
	}
	return cmp.Or(failed, l.appendLines(lines))
}

// appendLines writes all at once, or, where that fails, one by one.
func (l *Log) appendLines(lines [][]byte) error {
	left, err := l.append(bytes.Join(lines, nil))
	if err == nil {
		return nil
	}
	if len(lines) == 1 || left { // some lines are there, and would be there twice
		l.lost += uint64(len(lines))
		return err
	}
	var failed error
	for i := range lines {
		failed = cmp.Or(failed, l.appendLines(lines[i:i+1]))
	}
	return failed
}

// append writes text at the end; left: it failed, and a part of it is there.
func (l *Log) append(text []byte) (left bool, err error) {
	if len(text) == 0 {
		return false, nil
	}
	if l.end {
		return false, fmt.Errorf("event log %s: %w", l.path, os.ErrClosed)
	}
	if err := l.ready(int64(len(text))); err != nil {
		return false, err
	}
	if l.torn {
		text = append([]byte{'\n'}, text...)
	}
	n, err := l.dir.disk.write(l.file, text)
	if err == nil {
		l.size, l.torn = l.size+int64(n), false
		return false, nil
	}
	if n > 0 && l.file.Truncate(l.size) != nil {
		l.size, l.torn, left = l.size+int64(n), true, true
	}
	return left, fmt.Errorf("event log %s: %w; make room on the disk", l.path, err)
}

func encodeEvent(r Record) ([]byte, error) {
	if r.AfterMS != nil && (math.IsNaN(*r.AfterMS) || math.IsInf(*r.AfterMS, 0)) {
		r.AfterMS = nil // JSON has no such number
	}
	line, err := json.Marshal(r)
	if err == nil && len(line) >= maxEventLine {
		err = fmt.Errorf("event has %d bytes, at most %d are allowed", len(line), maxEventLine)
	}
	return append(line, '\n'), err
}

// ready makes sure that the file at the path is open and has room for more.
func (l *Log) ready(more int64) error {
	if l.file != nil {
		here, err := l.file.Stat()
		there, err2 := os.Lstat(l.path)
		if err != nil || err2 != nil || !os.SameFile(here, there) {
			_ = l.file.Close() // somebody removed or moved it
			l.file = nil
		}
	}
	if l.file != nil && l.size > 0 && l.size+more > maxLog {
		_ = l.file.Close() // Windows renames no open file
		l.file = nil
		err := l.dir.disk.rename(l.path, l.old)
		if err != nil && l.size+more > 2*maxLog { // some reader may let go of it
			return fmt.Errorf("event log %s: cannot be rotated: %w", l.path, err)
		}
	}
	if l.file != nil {
		return nil
	}
	return l.open()
}

// Lost returns how many events Append could not write.
func (l *Log) Lost() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Close ends the log; more Append calls are an error.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end {
		return nil
	}
	l.end = true
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
