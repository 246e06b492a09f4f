package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// lockVariable makes the test binary lock the file that it names until its
// standard input ends.
const lockVariable = "PAIRGUARD_STAGE_TEST_LOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(lockVariable); path != "" {
		os.Exit(lock(path))
	}
	os.Exit(m.Run())
}

func lock(path string) int {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
	f.Close()
	return 0
}

// locker starts a process that locks path, and returns its number and how to end it.
func locker(t *testing.T, path string) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), lockVariable+"="+path), os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	end = func() {
		stdin.Close()
		_ = cmd.Wait() // a second call is one too many, and harmless
	}
	t.Cleanup(end)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "locked\n" {
		t.Fatalf("no lock: %v", err)
	}
	return cmd.Process.Pid, end
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testStage(t *testing.T) *Stage {
	t.Helper()
	s, err := New("", "pairs")
	must(t, err)
	must(t, os.Mkdir(s.Dir, 0o700))
	t.Cleanup(func() { must(t, s.Close(false)) })
	return s
}

func TestObserverSeesHoldersComeAndGo(t *testing.T) {
	s := testStage(t)
	o := s.Observe("procA")
	path := filepath.Join(s.Dir, "procA.lock")
	first, end := locker(t, path)
	seen, err := o.AwaitHolder(context.Background(), "procA")
	must(t, err)
	if seen.PID != first {
		t.Errorf("the holder is process %d, not %d", seen.PID, first)
	}
	end()
	must(t, o.AwaitNobody(context.Background()))
	second, _ := locker(t, path)
	_, err = o.AwaitHolder(context.Background(), "procA", first)
	must(t, err)
	r := o.Close()
	gap, changes := r.Longest("procA")
	if r.Most != 1 || len(r.Broken) != 0 || changes != 1 || gap <= 0 || r.Sightings["procA"][1].PID != second {
		t.Errorf("%+v, gap %v, %d changes", r, gap, changes)
	}
}

// The observer has to see what must not be, or its silence means nothing.
func TestObserverSeesTwoHolders(t *testing.T) {
	s := testStage(t)
	o := s.Observe("procA")
	path := filepath.Join(s.Dir, "procA.lock")
	first, _ := locker(t, path)
	_, err := o.AwaitHolder(context.Background(), "procA")
	must(t, err)
	must(t, os.Remove(path))
	second, _ := locker(t, path)
	awaitState(t, o, func(n *observed) bool { return n.contested > 0 })
	if n := mostOf(o); n != 1 {
		t.Errorf("a contender counts as holder: %d", n)
	}
	life := fmt.Appendf(nil, `{"process":{"pid":%d,"start":1}}`, second)
	must(t, os.WriteFile(filepath.Join(s.Dir, "procA.life"), life, 0o600))
	awaitState(t, o, func(n *observed) bool { return n.most == 2 })
	if r := o.Close(); len(r.Broken) == 0 || o.Holder("procA") != first {
		t.Errorf("%+v", r)
	}
}

// A removed lock file is asked for as long as somebody locks it, and for a while
// after that; then it is closed, or a long run would open thousands.
func TestObserverForgetsRemovedFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "procA.lock")
	n, now := &observed{}, time.Now()
	_, end := locker(t, path)
	n.follow(path, now)
	must(t, os.Remove(path))
	for _, later := range []time.Duration{0, time.Hour} {
		n.follow(path, now.Add(later))
		n.forget(now.Add(later))
		if len(n.holders()) != 1 {
			t.Fatalf("the lock on the removed file is not seen any more after %v", later)
		}
	}
	end()
	_, _ = locker(t, path)
	n.follow(path, now.Add(time.Hour))
	if n.forget(now.Add(time.Second)); len(n.files) != 2 {
		t.Fatalf("%d files after a moment, want both", len(n.files))
	}
	if n.forget(now.Add(forgetAfter)); len(n.files) != 1 || len(n.holders()) != 1 {
		t.Fatalf("%d files, %v, want the one that stands there", len(n.files), n.holders())
	}
}

func mostOf(o *Observer) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.names["procA"].most
}

func awaitState(t *testing.T, o *Observer, ok func(*observed) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), Patience, errors.New("the observer does not see it"))
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		o.mu.Lock()
		seen := ok(o.names["procA"])
		o.mu.Unlock()
		if seen {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
	}
}
