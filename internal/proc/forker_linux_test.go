package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newForker(t *testing.T) *Forker {
	t.Helper()
	f, err := NewForker()
	if errors.Is(err, ErrNotSupported) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(f.Close)
	return f
}

// openIn tells what a thread of this process has open.
func openIn(t *testing.T, tid int) (targets []string) {
	t.Helper()
	folder := fmt.Sprintf("/proc/self/task/%d/fd", tid)
	entries, err := os.ReadDir(folder)
	must(t, err)
	for _, e := range entries {
		if target, err := os.Readlink(folder + "/" + e.Name()); err == nil {
			targets = append(targets, target)
		}
	}
	return targets
}

// What is opened after the forker was made is not in its thread, and so in no child of
// it; nothing of a start stays there.
func TestForkerHasNothingOfOurs(t *testing.T) {
	f := newForker(t)
	dir := t.TempDir()
	for i := range 50 {
		file, err := os.Create(fmt.Sprintf("%s/%d", dir, i))
		must(t, err)
		defer file.Close()
	}
	var tid int
	must(t, f.do(nil, func([]int) { tid = unix.Gettid() }))
	if tid == os.Getpid() {
		t.Fatal("it is the first thread")
	}
	before := openIn(t, tid)
	if slices.ContainsFunc(before, func(s string) bool { return strings.HasPrefix(s, dir) }) {
		t.Errorf("the thread has %q", before)
	}
	out, err := os.Create(dir + "/out")
	must(t, err)
	defer out.Close()
	for range 3 {
		h, err := f.Start(Spec{Path: lookPath(t, "ls"), Args: []string{"-l", "/proc/self/fd"}, Output: out})
		must(t, err)
		wantDone(t, h)
		if e := h.Exit(); !e.Known || e.Code != 0 {
			t.Errorf("it ended with %v", e)
		}
		h.Close()
		_, err = f.Start(Spec{Path: dir + "/none", Output: out})
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a program that is not there: %v", err)
		}
	}
	if after := openIn(t, tid); len(after) != len(before) {
		t.Errorf("the thread had %q, and has %q", before, after)
	}
	listed, err := os.ReadFile(out.Name())
	must(t, err)
	if strings.Count(string(listed), out.Name()) != 6 || strings.Count(string(listed), dir) != 6 {
		t.Errorf("the children had\n%s", listed)
	}
}

// What is held is open as long as nothing else is held instead.
func TestForkerHolds(t *testing.T) {
	f := newForker(t)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	must(t, f.Hold(w))
	must(t, w.Close())
	must(t, r.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("while it is held: %v", err)
	}
	must(t, f.Hold(os.Stderr))
	must(t, r.SetReadDeadline(time.Now().Add(20*time.Second)))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("when something else is held: %v", err)
	}
	if err := f.Hold(w); err == nil {
		t.Error("a closed file is held")
	}
}

// Go's runtime collects, and polls when it goes on after that, in whichever thread asks
// for it: also in this one.
func TestForkerAndTheRuntime(t *testing.T) {
	f := newForker(t)
	quit := make(chan struct{})
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				r, w, err := os.Pipe()
				if err == nil {
					err = r.SetReadDeadline(time.Now().Add(20 * time.Second))
				}
				if err != nil {
					t.Error(err)
					return
				}
				go func() { _, _ = w.WriteString("x"); w.Close() }()
				if b, err := io.ReadAll(r); string(b) != "x" || err != nil {
					t.Errorf("%q, %v", b, err)
				}
				r.Close()
			}
		})
	}
	for range 50 {
		must(t, f.do(nil, func([]int) {
			runtime.GC()
			fired := make(chan struct{})
			time.AfterFunc(time.Microsecond, func() { close(fired) })
			<-fired
			_ = make([]byte, 1<<20)
			runtime.Gosched()
		}))
		h, err := f.Start(Spec{Path: lookPath(t, "true")})
		must(t, err)
		wantDone(t, h)
		h.Close()
	}
	close(quit)
	busy.Wait()
}
