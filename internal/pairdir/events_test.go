package pairdir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// event is number i of a log: i seconds after the epoch.
func event(self string, i int, size int) Record {
	return Record{Time: epoch.Add(time.Duration(i) * time.Second), Event: fmt.Sprint("e", i), Self: self, Reason: strings.Repeat("r", size)}
}

func mustLog(t *testing.T, d *Dir, name string) *Log {
	t.Helper()
	l, err := d.OpenLog(d.mustName(t, name))
	mustDo(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestEventLineIsStable(t *testing.T) {
	ms := 1.5
	full, err := encodeEvent(Record{Time: epoch, Event: "peer_up", Self: "procA", Peer: "procB", PeerPID: 7, Generation: 2, Reason: "r", AfterMS: &ms})
	mustDo(t, err)
	want := `{"time":"2026-01-02T03:04:05.000000006Z","event":"peer_up","self":"procA","peer":"procB","peer_pid":7,"generation":2,"reason":"r","after_ms":1.5}` + "\n"
	if string(full) != want {
		t.Errorf("got  %swant %s", full, want)
	}
	ms = math.NaN()
	bare, err := encodeEvent(Record{Time: epoch, Event: "listening", AfterMS: &ms})
	mustDo(t, err)
	if want := `{"time":"2026-01-02T03:04:05.000000006Z","event":"listening","self":"","peer":""}` + "\n"; string(bare) != want {
		t.Errorf("got  %swant %s", bare, want)
	}
}

func TestEventsAreMergedByTime(t *testing.T) {
	d := testDir(t)
	a, b := mustLog(t, d, "procA"), mustLog(t, d, "procB")
	for i := range 6 {
		l, self := a, "procA"
		if i%2 == 1 {
			l, self = b, "procB"
		}
		mustDo(t, l.Append(event(self, i, 0)))
	}
	records, err := d.Events()
	mustDo(t, err)
	for i, r := range records {
		if r.Event != fmt.Sprint("e", i) {
			t.Fatalf("event %d is %+v", i, r)
		}
	}
	if len(records) != 6 {
		t.Fatalf("%d events", len(records))
	}
	mustDo(t, a.Close())
	if err := a.Append(event("procA", 7, 0)); !errors.Is(err, os.ErrClosed) || a.Lost() != 1 {
		t.Errorf("append after close: %v", err)
	}
}

func TestUnreadableLinesAreCounted(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	l := mustLog(t, d, "procA")
	mustDo(t, l.Append(event("procA", 1, 0)))
	mustDo(t, l.Close())
	f, err := os.OpenFile(d.file(n, logSuffix), os.O_APPEND|os.O_WRONLY, 0)
	mustDo(t, err)
	_, err = f.WriteString("garbage\n\n{}\n" + strings.Repeat("x", maxEventLine+1) + "\n{\"time\":\"2026")
	mustDo(t, err)
	mustDo(t, f.Close())
	l = mustLog(t, d, "procA") // the next life: the torn line must not swallow its first one
	mustDo(t, l.Append(event("procA", 2, 0)))
	records, err := d.Events()
	var bad *UnreadableError
	if !errors.As(err, &bad) || bad.Lines != 4 || len(records) != 2 || records[1].Event != "e2" {
		t.Fatalf("%v, %v", records, err)
	}
}

func TestFailedAppendLosesOneEventOnly(t *testing.T) {
	d := testDir(t)
	l := mustLog(t, d, "procA")
	mustDo(t, l.Append(event("procA", 1, 0)))
	d.disk.write = func(f *os.File, b []byte) (int, error) {
		n, _ := f.Write(b[:len(b)/2])
		return n, errors.New("disk full")
	}
	wantError(t, "full disk", l.Append(event("procA", 2, 0)), "disk full", ".events.jsonl")
	d.disk = realDisk()
	mustDo(t, l.Append(event("procA", 3, 0)))
	records, err := d.Events()
	if err != nil || len(records) != 2 || records[1].Event != "e3" || l.Lost() != 1 {
		t.Fatalf("%v, %v", records, err)
	}
}

// Many events at once are written in few pieces; where one cannot be written, the
// others are, in order, each once.
func TestAppendOfMany(t *testing.T) {
	d := testDir(t)
	l := mustLog(t, d, "procA")
	var all []Record
	for i := range 300 {
		all = append(all, event("procA", i, 0))
	}
	all[250] = event("procA", 250, maxEventLine)
	writes := 0
	d.disk.write = func(f *os.File, b []byte) (int, error) {
		writes++
		if !bytes.Contains(b, []byte(`"e7"`)) {
			return f.Write(b)
		}
		n, _ := f.Write(b[:len(b)/2])
		return n, errors.New("disk full")
	}
	wantError(t, "one that cannot be written and one that is too long", l.Append(all...), "disk full")
	line, _ := encodeEvent(all[299])
	if alone := maxAppend/len(line) + 2; writes > alone+len(all)*len(line)/maxAppend+2 {
		t.Errorf("%d writes for %d events, at most %d of them alone", writes, len(all), alone)
	}
	d.disk = realDisk()
	records, err := d.Events()
	if err != nil || len(records) != 298 || l.Lost() != 2 {
		t.Fatalf("%d events, %v, %d lost", len(records), err, l.Lost())
	}
	for i, r := range slices.Concat(all[:7], all[8:250], all[251:]) {
		if records[i].Event != r.Event {
			t.Fatalf("event %d is %s, want %s", i, records[i].Event, r.Event)
		}
	}
}

func TestLogIsBoundedAndRotated(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	l := mustLog(t, d, "procA")
	for i := range 300 {
		mustDo(t, l.Append(event("procA", i, 10_000)))
	}
	for _, ext := range []string{logSuffix, oldLogSuffix} {
		info, err := os.Stat(d.file(n, ext))
		if err != nil || info.Size() > maxLog {
			t.Fatalf("%s: %v %v", ext, info, err)
		}
	}
	records, err := d.Events()
	mustDo(t, err)
	for i, r := range records {
		if want := 300 - len(records) + i; r.Event != fmt.Sprint("e", want) {
			t.Fatalf("event %d is %s, want e%d", i, r.Event, want)
		}
	}
	if len(records) < 104 {
		t.Errorf("only %d events are kept", len(records))
	}
}

func TestLogThatCannotBeRotatedLosesNothingSoon(t *testing.T) {
	d := testDir(t)
	l := mustLog(t, d, "procA")
	d.disk.rename = func(string, string) error { return errors.New("in use") }
	for i := range 150 {
		mustDo(t, l.Append(event("procA", i, 10_000)))
	}
	d.disk = realDisk()
	mustDo(t, l.Append(event("procA", 150, 10_000)))
	if records, err := d.Events(); err != nil || len(records) != 151 {
		t.Fatalf("%d events, %v", len(records), err)
	}
}

func TestLogRemovedIsMadeAgain(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be removed there")
	}
	d := testDir(t)
	l := mustLog(t, d, "procA")
	mustDo(t, l.Append(event("procA", 1, 0)))
	mustDo(t, os.Remove(l.path))
	mustDo(t, l.Append(event("procA", 2, 0)))
	if records, err := d.Events(); err != nil || len(records) != 1 {
		t.Fatalf("%v %v", records, err)
	}
}

// Every event is reported once, whenever the follower looks: before, between and
// after rotations, two of them between two looks included.
func TestFollowAcrossRotations(t *testing.T) {
	d := testDir(t)
	l := mustLog(t, d, "procA")
	f := follower{dir: d, files: make(map[string]*tail)}
	defer f.close()
	next, i := 0, 0
	look := func() {
		t.Helper()
		records, err := f.poll()
		mustDo(t, err)
		for _, r := range records {
			if r.Event != fmt.Sprint("e", next) {
				t.Fatalf("want e%d, got %s", next, r.Event)
			}
			next++
		}
		if next != i {
			t.Fatalf("%d events written, %d reported", i, next)
		}
	}
	for _, count := range []int{0, 1, 50, 60, 3, 104, 1, 150, 90, 170, 200, 1} {
		for range count {
			mustDo(t, l.Append(event("procA", i, 10_000)))
			i++
		}
		look()
		look()
	}
	mustDo(t, os.Truncate(l.path, 0))
	mustDo(t, l.Append(event("procA", i, 0)))
	i++
	look()
}

func TestFollowReportsOldAndNew(t *testing.T) {
	d := testDir(t)
	a := mustLog(t, d, "procA")
	mustDo(t, a.Append(event("procA", 0, 0)))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got := make(chan Record, 16)
	done := make(chan error, 1)
	go func() { done <- d.Follow(ctx, func(r Record) { got <- r }) }()
	for i, l := range []*Log{nil, a, mustLog(t, d, "procB")} {
		if l != nil {
			mustDo(t, l.Append(event("procA", i, 0)))
		}
		select {
		case r := <-got:
			if r.Event != fmt.Sprint("e", i) {
				t.Fatalf("event %d is %+v", i, r)
			}
		case <-ctx.Done():
			t.Fatalf("event %d is never reported", i)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOutputIsPutAside(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	f, err := d.OpenOutput(n)
	mustDo(t, err)
	_, err = f.WriteString("one")
	mustDo(t, err)
	mustDo(t, f.Truncate(maxOutput+1))
	mustDo(t, f.Close())
	f, err = d.OpenOutput(n)
	mustDo(t, err)
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != 0 || (runtime.GOOS != "windows" && info.Mode().Perm() != 0o600) {
		t.Errorf("%v %v", info, err)
	}
	if info, err := os.Stat(d.file(n, ".log.1")); err != nil || info.Size() != maxOutput+1 {
		t.Error("old output is gone", err)
	}
	other := d.mustName(t, "procB")
	mustDo(t, os.Mkdir(d.file(other, ".log"), 0o700))
	_, err = d.OpenOutput(other)
	wantError(t, "a folder in its place", err, ".log", "remove it")
}

func FuzzEventLine(f *testing.F) {
	line, _ := encodeEvent(event("procA", 1, 3))
	f.Add(line)
	f.Add([]byte(`{"time":"2026-01-02T03:04:05Z","event":"x","after_ms":1e400}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseEvent(b)
		if err != nil {
			return
		}
		again, err := encodeEvent(r)
		if err != nil {
			return // a line that no writer of this package makes
		}
		if _, err := parseEvent(again); err != nil {
			t.Fatalf("read, but not read again: %v: %s", err, again)
		}
	})
}
