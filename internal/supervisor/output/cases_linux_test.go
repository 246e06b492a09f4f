package output

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFileSystemWithoutSplice(t *testing.T) {
	r := newRig(t, &sick{plain: true}, LogSpec{Size: 4096, Keep: 100}, Hooks{})
	r.write(lines(0, 1000))
	r.drained()
	wantLines(t, r.all(), 0, 1000)
	if len(older(t, r.spec.Path)) == 0 {
		t.Error("no rotation")
	}
	r.notes.await(t, "can be in the log twice")
}

func TestRotationWaitsForADescriptor(t *testing.T) {
	sys := &sick{}
	r := newRig(t, sys, LogSpec{Size: 1000, Keep: 100}, Hooks{})
	sys.scarce.Store(true)
	r.write(lines(0, 200))
	r.drained()
	r.notes.await(t, "cannot be rotated now")
	if files := older(t, r.spec.Path); len(files) != 0 {
		t.Fatalf("older files %v", files)
	}
	sys.scarce.Store(false)
	n := 200
	if !eventually(func() bool {
		r.write(line(n))
		n++
		r.drained()
		return len(older(t, r.spec.Path)) > 0
	}) {
		t.Fatal("the rotation was given up")
	}
	wantLines(t, r.all(), 0, n)
}

func TestStreamWithoutALogOpensIt(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{}, Hooks{})
	r.stream.Close()
	spec := LogSpec{Path: filepath.Join(t.TempDir(), "new", "folder", "web.log")}
	handed := make(chan string, 1)
	s := must1(r.pump.Add(must1(OpenReader(r.pipe))(t), nil, spec, Hooks{Handover: func(log *os.File) error {
		handed <- log.Name()
		return nil
	}}))(t)
	r.write(lines(0, 10))
	must(t, s.Drained(within(t)))
	wantLines(t, string(must1(os.ReadFile(spec.Path))(t)), 0, 10)
	if name := <-handed; name != spec.Path || s.Log().Name() != spec.Path {
		t.Errorf("%s handed over", name)
	}
}

func TestRemovedLogIsMadeAgain(t *testing.T) {
	for name, remove := range map[string]func(path string) error{
		"log":    os.Remove,
		"folder": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, kernel{}, LogSpec{}, Hooks{})
			r.write(lines(0, 10))
			r.drained()
			must(t, remove(r.spec.Path))
			r.write(lines(10, 20))
			r.drained()
			wantLines(t, r.all(), 10, 20)
		})
	}
}

func TestLogThatSomebodyRenamed(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{}, Hooks{})
	r.write(lines(0, 10))
	r.drained()
	must(t, os.Rename(r.spec.Path, r.spec.Path+".bak"))
	n := 10
	if !eventually(func() bool { // it looks at the name once a second
		r.write(line(n))
		n++
		r.drained()
		_, err := os.Stat(r.spec.Path)
		return err == nil
	}) {
		t.Fatal("the log was not made again")
	}
	text := string(must1(os.ReadFile(r.spec.Path+".bak"))(t)) + string(must1(os.ReadFile(r.spec.Path))(t))
	wantLines(t, text, 0, n)
}

func TestLogThatSomebodyEmptied(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{}, Hooks{})
	r.write(lines(0, 10))
	r.drained()
	must(t, os.Truncate(r.spec.Path, 0))
	r.write(lines(10, 20))
	r.drained()
	wantLines(t, r.all(), 10, 20)
}

func TestLongLineIsTornAtTwiceTheSize(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{Size: 1000, Keep: 100}, Hooks{})
	text := "short\n" + strings.Repeat("x", 4500) + "\n" + "end\n"
	r.await(r.writeAll(text))
	r.drained()
	if got := r.all(); got != text {
		t.Fatalf("%d bytes of %d, or others", len(got), len(text))
	}
	for _, k := range older(t, r.spec.Path) {
		if info := must1(os.Stat(r.spec.Path + "." + itoa(k)))(t); info.Size() > 2000 {
			t.Errorf("older file %d has %d bytes", k, info.Size())
		}
	}
	if got := older(t, r.spec.Path); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("older files %v", got)
	}
}

func TestKeepNone(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{Size: 1000, Keep: KeepNone}, Hooks{})
	r.write(lines(0, 100))
	r.drained()
	if got := older(t, r.spec.Path); len(got) != 0 {
		t.Errorf("older files %v", got)
	}
	if !strings.HasSuffix(lines(0, 100), r.all()) {
		t.Error("the log is not the end of the output")
	}
}

// TestMuchAtOnce is a program that writes much in one call, into a log whose older files go.
func TestMuchAtOnce(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{Size: 16 << 20, Keep: 1}, Hooks{})
	size := 1 << 30
	if testing.Short() {
		size = 1 << 26
	}
	block := strings.Repeat(strings.Repeat("x", 99)+"\n", size/100/16)
	for range 16 {
		r.await(r.writeAll(block))
	}
	r.drained()
	if moved := int(r.stream.moved.Load()); moved != 16*len(block) || r.stream.Dropped() != 0 {
		t.Errorf("%d bytes of %d, %d dropped", moved, 16*len(block), r.stream.Dropped())
	}
}

func TestPipeWithoutWritersCostsNothing(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{}, Hooks{})
	r.write("last words\n")
	must(t, r.writer.Close())
	r.drained()
	if got := r.all(); got != "last words\n" {
		t.Fatalf("%q", got)
	}
	turns := func() time.Time { // when the last turn began
		r.pump.mu.Lock()
		defer r.pump.mu.Unlock()
		return r.pump.worker.began
	}
	// The news that the last writer has gone may still be on its way: one more turn.
	quiet := false
	for deadline := time.Now().Add(5 * time.Second); !quiet && time.Now().Before(deadline); {
		last := turns()
		<-time.After(50 * time.Millisecond)
		quiet = turns() == last
	}
	if !quiet {
		t.Error("the pump turns although nothing comes")
	}
	again := must1(OpenWriter(r.pipe))(t)
	defer again.Close()
	must1(again.WriteString("more\n"))(t)
	r.drained()
	if got := r.all(); got != "last words\nmore\n" {
		t.Fatalf("%q", got)
	}
}

func TestDrainedEnds(t *testing.T) {
	sys := &sick{}
	sys.full.Store(true)
	r := newRig(t, sys, LogSpec{Stall: time.Hour}, Hooks{})
	r.write("stays\n")
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- r.stream.Drained(ctx) }()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	go func() { result <- r.stream.Drained(context.Background()) }()
	if !eventually(func() bool {
		r.pump.mu.Lock()
		defer r.pump.mu.Unlock()
		return len(r.stream.waiters) > 0
	}) {
		t.Fatal("nobody waits")
	}
	r.stream.Close()
	if err := <-result; err != ErrClosed {
		t.Errorf("closed: %v", err)
	}
	if err := r.stream.Drained(context.Background()); err != ErrClosed {
		t.Errorf("after the close: %v", err)
	}
	next := must1(r.pump.Add(must1(OpenReader(r.pipe))(t), must1(OpenLog(r.spec))(t), r.spec, Hooks{}))(t)
	sys.full.Store(false)
	must(t, next.Drained(within(t)))
	if got := r.all(); got != "stays\n" {
		t.Errorf("what was in the pipe at the close: %q", got)
	}
}

func TestWhatIsRefused(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Symlink(file, link))
	for path, want := range map[string]string{link: "symbolic link", dir: "is a directory", "/dev/null": "not a regular file"} {
		if f, err := OpenLog(LogSpec{Path: path}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("OpenLog(%s): %v, %v", path, f, err)
		}
	}
	if err := MakePipe(file); err == nil || !strings.Contains(err.Error(), "not a pipe") {
		t.Errorf("MakePipe over a file: %v", err)
	}
	for _, open := range []func(string) (*os.File, error){OpenReader, OpenWriter} {
		if f, err := open(file); err == nil {
			t.Errorf("a file opened as a pipe: %v", f.Name())
		}
	}
	pipe := filepath.Join(dir, "pipe")
	must(t, MakePipe(pipe))
	must(t, MakePipe(pipe)) // it stays
	p := must1(NewPump())(t)
	defer p.Close()
	if _, err := p.Add(must1(os.Open(file))(t), nil, LogSpec{Path: file}, Hooks{}); err == nil {
		t.Error("a file is no pipe")
	}
	if _, err := Copy(&bytes.Buffer{}, LogSpec{Path: filepath.Join(dir, "none")}, true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Copy of nothing: %v", err)
	}
}

// TestPipesAreNotInTheGoPoller: it would wake up at each write of the program.
func TestPipesAreNotInTheGoPoller(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, MakePipe(pipe))
	for _, open := range []func(string) (*os.File, error){OpenReader, OpenWriter} {
		f := must1(open(pipe))(t)
		defer f.Close()
		if err := f.SetDeadline(time.Now()); !errors.Is(err, os.ErrNoDeadline) {
			t.Errorf("it can have a deadline: %v", err)
		}
		if flags := must1(unix.FcntlInt(f.Fd(), unix.F_GETFL, 0))(t); flags&unix.O_NONBLOCK != 0 {
			t.Error("it does not block")
		}
	}
}

// TestSmallPipes is what an unprivileged user gets whose pipe pages are used up.
func TestSmallPipes(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{Size: 10_000, Keep: 100}, Hooks{})
	must1(unix.FcntlInt(r.writer.Fd(), unix.F_SETPIPE_SZ, 4096))(t)
	r.await(r.writeAll(lines(0, 10_000)))
	r.drained()
	wantLines(t, r.all(), 0, 10_000)
}

func TestManyStreams(t *testing.T) {
	const n = 100
	dir := t.TempDir()
	p := must1(NewPump())(t)
	defer p.Close()
	var done sync.WaitGroup
	for k := range n {
		spec := LogSpec{Path: filepath.Join(dir, itoa(k)+".log"), Size: 5000, Keep: 100}
		pipe := filepath.Join(dir, itoa(k)+".fifo")
		must(t, MakePipe(pipe))
		writer := must1(OpenWriter(pipe))(t)
		s := must1(p.Add(must1(OpenReader(pipe))(t), must1(OpenLog(spec))(t), spec, Hooks{}))(t)
		done.Go(func() {
			defer writer.Close()
			for at := 0; at < 600; at += 20 {
				if _, err := writer.WriteString(lines(at, at+20)); err != nil {
					t.Error(err)
				}
			}
			if err := s.Drained(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	for k := range n {
		var b bytes.Buffer
		must1(Copy(&b, LogSpec{Path: filepath.Join(dir, itoa(k)+".log")}, true))(t)
		wantLines(t, b.String(), 0, 600)
	}
}
