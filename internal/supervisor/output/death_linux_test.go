package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// keeper holds what a standby holds: copies of the pipe and of the log that it was given last.
type keeper struct {
	t    testing.TB
	pipe *os.File
	mu   sync.Mutex
	log  *os.File
}

func (k *keeper) take(log *os.File) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.log != nil {
		k.log.Close()
	}
	k.log = duplicate(k.t, log)
}

// give returns descriptors for a successor.
func (k *keeper) give() (pipe, log *os.File) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.log == nil {
		return duplicate(k.t, k.pipe), nil
	}
	return duplicate(k.t, k.pipe), duplicate(k.t, k.log)
}

func (k *keeper) close() {
	k.pipe.Close()
	if k.log != nil {
		k.log.Close()
	}
}

func duplicate(t testing.TB, f *os.File) *os.File {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return os.NewFile(uintptr(fd), f.Name())
}

// life lets one pump live until it has moved all there is, or until the call at which it dies. It reports whether it died.
func (k *keeper) life(spec LogSpec, calls int, after bool) (died bool) {
	k.t.Helper()
	ctx, cancel := context.WithCancelCause(within(k.t))
	defer cancel(nil)
	death := errors.New("dead")
	m := &mortal{kernel: kernel{}, left: calls, after: after, die: func() { cancel(death); runtime.Goexit() }}
	p := must1(newPump(m))(k.t)
	pipe, log := k.give()
	s := must1(p.Add(pipe, log, spec, Hooks{Handover: func(log *os.File) error {
		// Death is before the new log has arrived, or after that but before its arrival is known.
		mortally(m, func() error { k.take(log); return nil })
		return nil
	}}))(k.t)
	err := s.Drained(ctx)
	died = context.Cause(ctx) == death
	if err != nil && !died {
		k.t.Fatal(err)
	}
	p.Close()
	if died {
		m.bury(s)
	}
	return died
}

// TestDeathAtEachCall lets a pump die before and after each of its calls, one after the other, with a successor each time.
func TestDeathAtEachCall(t *testing.T) {
	for _, keep := range []int{100, 4} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("keep %d, after the call %v", keep, after), func(t *testing.T) {
				for calls := 0; ; calls++ {
					if !dieAt(t, keep, calls, after) {
						if calls < 30 {
							t.Fatalf("a whole life has %d calls only", calls)
						}
						return
					}
				}
			})
		}
	}
}

// dieAt lets the first of two pumps die at one call.
func dieAt(t *testing.T, keep, calls int, after bool) (died bool) {
	t.Helper()
	k, spec, writer := newKeeper(t, LogSpec{Size: 500, Keep: keep})
	defer k.close()
	defer writer.Close()
	must1(writer.WriteString(lines(0, 100)))(t)
	died = k.life(spec, calls, after)
	if k.life(spec, 1e9, false) {
		t.Fatal("died without a reason")
	}
	checkFamily(t, spec, keep, 100)
	return died
}

func newKeeper(t *testing.T, spec LogSpec) (*keeper, LogSpec, *os.File) {
	t.Helper()
	dir := must1(os.MkdirTemp(t.TempDir(), ""))(t)
	spec.Path = filepath.Join(dir, "web.log")
	pipe := filepath.Join(dir, "web.fifo")
	must(t, MakePipe(pipe))
	writer := must1(OpenWriter(pipe))(t)
	return &keeper{t: t, pipe: must1(OpenReader(pipe))(t), log: must1(OpenLog(spec))(t)}, spec, writer
}

// checkFamily checks that the log and its older files end with the last line, that each line is there once and in order, and that nothing
// is missing but what more than Keep older files would have.
func checkFamily(t *testing.T, spec LogSpec, keep, end int) {
	t.Helper()
	var b bytes.Buffer
	must1(Copy(&b, spec, true))(t)
	text := b.String()
	number, _, _ := strings.Cut(text, " ")
	first := atoi(number)
	files := older(t, spec.Path)
	if first != 0 && len(files) != keep {
		t.Fatalf("lines begin with %d, with %v as older files of at most %d", first, files, keep)
	}
	if keep >= 100 && first != 0 {
		t.Fatalf("lines begin with %d", first)
	}
	for _, f := range files {
		if f > keep {
			t.Fatalf("older file %d, only %d are to be kept", f, keep)
		}
		if info, err := os.Stat(spec.Path + "." + itoa(f)); err != nil || info.Size() == 0 {
			t.Fatalf("older file %d is empty: a rotation was done twice (%v)", f, err)
		}
	}
	wantLines(t, text, first, end)
}

// TestManyDeaths has a history of random deaths in each round, while somebody follows the log, and sometimes nobody has kept a descriptor of it.
func TestManyDeaths(t *testing.T) {
	const rounds, bursts, burst = 12, 8, 60
	for seed := range uint64(rounds) {
		random := rand.New(rand.NewPCG(seed, 1))
		keep := []int{100, 100, 4}[random.IntN(3)]
		k, spec, writer := newKeeper(t, LogSpec{Size: 300 + random.Int64N(2000), Keep: keep})
		ctx, cancel := context.WithCancel(context.Background())
		var followed bytes.Buffer
		var done sync.WaitGroup
		done.Go(func() {
			if err := Follow(ctx, &followed, spec.Path, Position{}); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
		for n := range bursts {
			must1(writer.WriteString(lines(n*burst, (n+1)*burst)))(t)
			for k.life(spec, random.IntN(60), random.IntN(2) == 0) {
				if random.IntN(5) == 0 { // nobody was left who had a copy
					k.log.Close()
					k.log = must1(OpenLog(spec))(t)
				}
			}
		}
		cancel()
		done.Wait()
		checkFamily(t, spec, keep, bursts*burst)
		if keep == 100 {
			wantLines(t, followed.String(), 0, bursts*burst)
		}
		k.close()
		writer.Close()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
