package output

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sick is a kernel some of whose calls fail, or do not come back.
type sick struct {
	kernel
	full       atomic.Bool                   // no bytes go into a file
	scarce     atomic.Bool                   // no file can be opened
	plain      bool                          // files take no spliced output
	hangPwrite atomic.Pointer[chan struct{}] // pwrite waits until it is closed
	hang       atomic.Pointer[chan struct{}] // splice waits until it is closed
}

func (s *sick) splice(pipe, file int, offset int64, n int) (int, error) {
	if hang := s.hang.Load(); hang != nil {
		<-*hang
	}
	switch {
	case s.plain:
		return 0, unix.EINVAL
	case s.full.Load():
		return 0, unix.ENOSPC
	}
	return s.kernel.splice(pipe, file, offset, n)
}

func (s *sick) pwrite(fd int, b []byte, offset int64) (int, error) {
	if hang := s.hangPwrite.Load(); hang != nil {
		<-*hang
	}
	if s.full.Load() {
		n, _ := s.kernel.pwrite(fd, b[:len(b)/2], offset) // a disk is never full at a convenient byte
		return n, nil
	}
	return s.kernel.pwrite(fd, b, offset)
}

func (s *sick) openLog(path string, extra int) (*os.File, error) {
	if s.scarce.Load() {
		return nil, &os.PathError{Op: "open log", Path: path, Err: unix.EMFILE}
	}
	return s.kernel.openLog(path, extra)
}

// writeAll writes what may have to wait, and tells when it is done.
func (r *rig) writeAll(text string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := r.writer.WriteString(text)
		done <- err
	}()
	return done
}

func (r *rig) await(done <-chan error) {
	r.t.Helper()
	select {
	case err := <-done:
		must(r.t, err)
	case <-time.After(deadline):
		r.t.Fatal("the program waits for ever")
	}
}

func TestShortTroubleDropsNothing(t *testing.T) {
	sys := &sick{}
	sys.full.Store(true)
	r := newRig(t, sys, LogSpec{Stall: time.Hour}, Hooks{})
	r.write(lines(0, 100))
	if !eventually(func() bool { return r.troubled() }) {
		t.Fatal("a full disk is no trouble")
	}
	done := r.writeAll(lines(100, 5000)) // more than the pipe holds
	sys.full.Store(false)
	r.await(done)
	r.drained()
	wantLines(t, r.all(), 0, 5000)
	if n := r.stream.Dropped(); n != 0 {
		t.Errorf("%d bytes dropped", n)
	}
}

func (r *rig) troubled() bool {
	r.pump.mu.Lock()
	defer r.pump.mu.Unlock()
	return len(r.pump.troubled) > 0
}

// eventually asks until the answer is yes.
func eventually(ask func() bool) bool {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(deadline); time.Now().Before(end); <-ticker.C {
		if ask() {
			return true
		}
	}
	return false
}

// checkGap checks a log with one gap: whole lines before it and after it, and a note that counts exactly what is missing.
func (r *rig) checkGap(end int) {
	r.t.Helper()
	missing, n := 0, 0
	var said string
	for l := range strings.Lines(r.all()) {
		if strings.HasPrefix(l, "[pairguard] ") {
			said += l
			continue
		}
		for ; n < end && l != line(n); n++ {
			missing += len(line(n))
		}
		if n == end {
			r.t.Fatalf("not one of the lines, or not in order: %q", l)
		}
		n++
	}
	for ; n < end; n++ {
		missing += len(line(n))
	}
	if got := r.stream.Dropped(); int(got) != missing || missing == 0 {
		r.t.Errorf("%d bytes are missing, %d counted as dropped", missing, got)
	}
	if want := itoa(missing) + " bytes of output are missing here"; !strings.Contains(said, want) || strings.Count(said, "\n") != 1 {
		r.t.Errorf("the log should say once %q: %q", want, said)
	}
}

func TestFullDiskDropsWholeLinesAndCountsThem(t *testing.T) {
	sys := &sick{}
	r := newRig(t, sys, LogSpec{Stall: 50 * time.Millisecond}, Hooks{})
	r.write(lines(0, 100))
	r.drained()
	sys.full.Store(true)
	r.await(r.writeAll(lines(100, 20_000)))
	r.notes.await(t, "output is dropped until it does")
	r.drained()
	sys.full.Store(false)
	r.notes.await(t, "takes output again")
	r.write(lines(20_000, 20_100))
	r.drained()
	r.checkGap(20_100)
	if !strings.Contains(r.notes.all(), "no space left on device") {
		t.Errorf("the reason is not told: %s", r.notes.all())
	}
}

// TestReallyFullDisk fills a file system of 1 MB.
func TestReallyFullDisk(t *testing.T) {
	folder := mount(t, "tmpfs", "tmpfs", "size=1m")
	filler := filepath.Join(folder, "filler")
	must(t, os.WriteFile(filler, make([]byte, 600_000), 0o600))
	r := newRig(t, kernel{}, LogSpec{Path: filepath.Join(folder, "web.log"), Stall: 50 * time.Millisecond}, Hooks{})
	r.await(r.writeAll(lines(0, 40_000)))
	r.drained()
	must(t, os.Remove(filler))
	r.notes.await(t, "takes output again")
	r.write(lines(40_000, 40_010))
	r.drained()
	r.checkTornGap(40_010)
}

// checkTornGap is checkGap where the disk filled up in the middle of a line: that line's rest is missing.
func (r *rig) checkTornGap(end int) {
	r.t.Helper()
	before, after, ok := strings.Cut(r.all(), "[pairguard] ")
	if !ok {
		r.t.Fatal("the log does not say that something is missing")
	}
	note, after, _ := strings.Cut(after, "\n")
	n := 0
	kept := 0
	for l := range strings.Lines(before) {
		if l != line(n) && !strings.HasPrefix(line(n), strings.TrimSuffix(l, "\n")) {
			r.t.Fatalf("line %d is %q", n, l)
		}
		if l == line(n) {
			kept += len(l)
		} else {
			kept += len(l) - 1 // the note begins on a line of its own
		}
		n++
	}
	first, _, _ := strings.Cut(after, " ")
	wantLines(r.t, after, atoi(first), end)
	missing := len(lines(0, end)) - kept - len(after)
	if got := r.stream.Dropped(); int(got) != missing || !strings.HasPrefix(note, itoa(missing)+" bytes") {
		r.t.Errorf("%d bytes are missing, %d counted, and the log says %q", missing, got, note)
	}
}

// mount mounts something of its own for one test; only root can.
func mount(t *testing.T, source, kind, options string) (folder string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a file system of its own")
	}
	folder = t.TempDir()
	if err := unix.Mount(source, folder, kind, 0, options); err != nil {
		t.Skipf("cannot mount %s here: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, 0); err != nil {
			t.Errorf("unmount: %v", err)
			_ = unix.Unmount(folder, unix.MNT_DETACH)
		}
	})
	return folder
}

func TestHungFileSystemHoldsNobodyElseUp(t *testing.T) {
	sys := &sick{}
	r := newRig(t, sys, LogSpec{Stall: 100 * time.Millisecond}, Hooks{})
	r.pump.mu.Lock()
	r.pump.patience = 20 * time.Millisecond
	r.pump.mu.Unlock()
	r.write(lines(0, 10))
	r.drained()
	release := make(chan struct{})
	sys.hang.Store(&release)
	r.write(lines(10, 20))
	if !eventually(r.troubled) {
		t.Fatal("nobody notices that a file system hangs")
	}
	sys.hang.Store(nil)
	if other := filesystem(t, "/dev/shm"); other != "" { // on another file system all goes on
		spec := LogSpec{Path: filepath.Join(other, "db.log")}
		pipe := r.pipe + "2"
		must(t, MakePipe(pipe))
		writer := must1(OpenWriter(pipe))(t)
		defer writer.Close()
		s := must1(r.pump.Add(must1(OpenReader(pipe))(t), must1(OpenLog(spec))(t), spec, Hooks{}))(t)
		must1(writer.WriteString(lines(0, 10)))(t)
		must(t, s.Drained(within(t)))
		wantLines(t, string(must1(os.ReadFile(spec.Path))(t)), 0, 10)
	}
	r.notes.await(t, "its file system does not answer")
	r.await(r.writeAll(lines(20, 20_000)))
	r.drained() // all dropped
	if n := r.stream.Dropped(); n == 0 {
		t.Error("nothing dropped")
	}
	close(release)
	r.notes.await(t, "takes output again")
	r.write(lines(20_000, 20_010))
	r.drained()
	r.checkGap(20_010)
}

// TestHungWhileTheLogIsTold: the disk was full, and hangs in the line that tells how much is missing. What is dropped meanwhile is told afterwards.
func TestHungWhileTheLogIsTold(t *testing.T) {
	sys := &sick{}
	r := newRig(t, sys, LogSpec{Stall: 50 * time.Millisecond}, Hooks{})
	r.pump.mu.Lock()
	r.pump.patience = 20 * time.Millisecond
	r.pump.mu.Unlock()
	sys.full.Store(true)
	r.write(lines(0, 100))
	r.drained()
	release := make(chan struct{})
	sys.hangPwrite.Store(&release)
	if !eventually(func() bool {
		r.pump.mu.Lock()
		defer r.pump.mu.Unlock()
		return len(r.pump.hung) > 0
	}) {
		t.Fatal("nobody notices that a file system hangs")
	}
	r.await(r.writeAll(lines(100, 20_000)))
	r.drained()
	sys.full.Store(false)
	sys.hangPwrite.Store(nil)
	close(release)
	r.notes.await(t, itoa(len(lines(100, 20_000)))+" bytes were dropped")
	r.write(lines(20_000, 20_010))
	r.drained()
	text, want := r.all(), lines(20_000, 20_010)
	if !strings.HasSuffix(text, want) || strings.Count(text, "[pairguard] ") != 2 || int(r.stream.Dropped()) != len(lines(0, 20_000)) {
		t.Errorf("the log is %q, %d bytes dropped", text, r.stream.Dropped())
	}
}

// filesystem is a folder of its own on another file system, "" if there is none.
func filesystem(t *testing.T, path string) string {
	folder, err := os.MkdirTemp(path, "pg")
	if err != nil {
		return ""
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// TestFrozenFileSystem freezes a real one.
func TestFrozenFileSystem(t *testing.T) {
	for _, tool := range []string{"mkfs.ext4", "mount", "fsfreeze"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("missing tool: %s", tool)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a file system of its own")
	}
	image, folder := filepath.Join(t.TempDir(), "image"), t.TempDir()
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 8<<20))
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, folder).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a file here: %v %s", err, out)
	}
	r := newRig(t, kernel{}, LogSpec{Path: filepath.Join(folder, "web.log"), Stall: 300 * time.Millisecond}, Hooks{})
	t.Cleanup(func() {
		r.stream.Close()
		_ = exec.Command("fsfreeze", "--unfreeze", folder).Run()
		unmounted := eventually(func() bool { return exec.Command("umount", folder).Run() == nil })
		if !unmounted {
			t.Errorf("cannot unmount %s", folder)
		}
	})
	r.write(lines(0, 10))
	r.drained()
	must(t, exec.Command("fsfreeze", "--freeze", folder).Run())
	r.await(r.writeAll(lines(10, 20_000)))
	r.notes.await(t, "its file system does not answer")
	r.drained()
	must(t, exec.Command("fsfreeze", "--unfreeze", folder).Run())
	r.notes.await(t, "takes output again")
	r.write(lines(20_000, 20_010))
	r.drained()
	r.checkGap(20_010)
}
