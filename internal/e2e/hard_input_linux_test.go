package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// mostMemory is what a guard may take at worst, in kB, however much is thrown at it.
const mostMemory = 40 << 10

// nuisances are what processes of the same user may send to a member. Each goes on
// until its context ends.
var nuisances = map[string]func(ctx context.Context, address string){
	"garbage": pour(bytes.Repeat([]byte("\x00\xff BEAT 1\r\n\x1b[2J HELLO 1 self==\n"), 200)),
	"half lines": func(ctx context.Context, address string) {
		for ctx.Err() == nil {
			for _, text := range []string{"H", "HELLO 1 self=procB pe", "LOOK", "BEAT 99999999999999999999", "HELLO 1 self=procB peer=procA pid=1 gen=1 heartbeat_ms=1000 health=ok"} {
				say(ctx, address, []byte(text))
			}
		}
	},
	"a MiB without an end": func(ctx context.Context, address string) {
		for ctx.Err() == nil {
			say(ctx, address, append([]byte("HELLO 1 "), bytes.Repeat([]byte("x"), 1<<20)...))
		}
	},
	"ping without an end":        pour(bytes.Repeat([]byte("ping"), 1<<14)),
	"a flood of LOOK":            pour(bytes.Repeat([]byte("LOOK\n"), 1<<12)),
	"a flood of HELLO":           pour(bytes.Repeat([]byte("HELLO 1 self=procB peer=procA pid=1 gen=1 heartbeat_ms=1000 health=ok\n"), 1<<8)),
	"goodbyes of a false peer":   pour([]byte("HELLO 1 self=procB peer=procA pid=1 gen=1 heartbeat_ms=1000 health=ok\nBYE stop reason=nuisance\nBYE leave\n")),
	"a thousand connections":     crowd(1000),
	"connections without a word": func(ctx context.Context, address string) { crowd(100)(ctx, address) },
}

// say connects, sends and hangs up.
func say(ctx context.Context, address string, text []byte) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", address)
	if err != nil {
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.Write(text)
}

// pour sends the same again and again, on new connections when one is closed. It
// reads no answer.
func pour(text []byte) func(context.Context, string) {
	return func(ctx context.Context, address string) {
		for ctx.Err() == nil {
			say(ctx, address, text)
		}
	}
}

// crowd opens connections and keeps them.
func crowd(n int) func(context.Context, string) {
	return func(ctx context.Context, address string) {
		var all []net.Conn
		defer func() {
			for _, c := range all {
				c.Close()
			}
		}()
		for len(all) < n && ctx.Err() == nil {
			// A full queue refuses; those behind it wait in vain.
			soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			conn, err := new(net.Dialer).DialContext(soon, "unix", address)
			cancel()
			if err == nil {
				all = append(all, conn)
			}
		}
		<-ctx.Done()
	}
}

// Whatever processes of the same user throw at a member: nobody is taken for dead
// or hung, nobody ends, memory stays bounded, and both still guard each other.
func TestNuisances(t *testing.T) {
	for name, nuisance := range nuisances {
		t.Run(name, func(t *testing.T) {
			tr := newTrial(t)
			p := tr.guards("procA", "procB", "--backoff", "0")
			tr.endure(p, nuisance, pairguard.DefaultTimeout+500*time.Millisecond)
			_, err := p.KillInTurn(tr.ctx, 2, syscall.SIGKILL)
			tr.must(err)
			tr.must(p.AwaitUp(tr.ctx))
			tr.stopped(p)
		})
	}
}

// endure annoys procA for a while and sees to it that nothing comes of it.
func (t *trial) endure(p *stage.Pair, nuisance func(context.Context, string), d time.Duration) {
	t.Helper()
	a, b := p.Observer.Holder("procA"), p.Observer.Holder("procB")
	ctx, cancel := context.WithCancel(t.ctx)
	var all sync.WaitGroup
	all.Go(func() { nuisance(ctx, filepath.Join(t.Dir, "procA.sock")) })
	t.remains("both as they are", d, func(now []stage.Process) bool { return len(now) == 2 && has(now, a) && has(now, b) })
	if kb := memory(a); kb > mostMemory {
		t.Errorf("procA takes %d kB", kb)
	}
	cancel()
	all.Wait()
	for _, kind := range []pairguard.EventKind{pairguard.PeerHung, pairguard.PeerDead, pairguard.PeerLeft, pairguard.Stopped} {
		if n := t.count(func(e pairguard.Event) bool { return e.Kind == kind }); n > 0 {
			t.Errorf("%d times %s", n, kind)
		}
	}
	if n := t.count(func(pairguard.Event) bool { return true }); n > 60 {
		t.Errorf("%d events were written: the log can be drowned", n)
	}
}

// memory is the resident memory of a process that belongs to it alone, in kB.
func memory(pid int) (kb int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, "RssAnon: %d kB", &kb)
	}
	return kb
}

// Twenty descriptors are enough for a pair; a crowd that uses them up keeps nobody
// from guarding, and when it goes all is as before.
func TestFewDescriptors(t *testing.T) {
	tr := newTrial(t)
	p := tr.pair("procA", "procB")
	limited := func(self, peer string) []string {
		return []string{"sh", "-c", `ulimit -n 20; exec "$0" "$@"`, tr.Binary, "guard", self, peer, "--dir", tr.Dir, "--backoff", "0"}
	}
	a := limited("procA", "procB")
	first, err := tr.Start(a[0], a[1:]...)
	tr.must(err)
	p.First = first
	tr.must(p.AwaitUp(tr.ctx))
	tr.endure(p, crowd(200), pairguard.DefaultTimeout+500*time.Millisecond)
	for range 2 {
		_, err = p.KillInTurn(tr.ctx, 2, syscall.SIGKILL)
		tr.must(err)
		tr.must(p.AwaitUp(tr.ctx))
	}
	// And a death in the middle of it: as soon as there is room it is answered.
	ctx, cancel := context.WithCancel(tr.ctx)
	var all sync.WaitGroup
	all.Go(func() { crowd(200)(ctx, filepath.Join(tr.Dir, "procA.sock")) })
	a1 := p.Observer.Holder("procA")
	tr.must(tr.AwaitProcesses(tr.ctx, "nearly all descriptors are used", func([]stage.Process) bool {
		used, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a1))
		return err == nil && len(used) >= 19
	}))
	away, err := p.Replace(tr.ctx, "procB", syscall.SIGKILL)
	cancel()
	all.Wait()
	tr.must(err)
	t.Logf("away for %v", away)
	if away > stage.AwayLimit {
		t.Errorf("away for %v", away)
	}
	tr.must(p.AwaitUp(tr.ctx))
	tr.stopped(p)
}

// A member answers who asks, and refuses who is not its peer.
func TestAnswersToStrangers(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	p := tr.guards("procA", "procB")
	for _, c := range []struct{ says, hears string }{
		{"LOOK\n", "STATUS 1 self=procA"},
		{"HELLO 1 self=procB peer=procA pid=1 gen=1 heartbeat_ms=1000 health=ok\n", "REFUSED reason="},
		{"GET / HTTP/1.1\r\n\r\n", "REFUSED reason="},
	} {
		conn, err := net.Dial("unix", filepath.Join(tr.Dir, "procA.sock"))
		tr.must(err)
		_, err = conn.Write([]byte(c.says))
		tr.must(err)
		conn.SetReadDeadline(time.Now().Add(stage.Patience))
		answer := make([]byte, 600)
		n, err := conn.Read(answer)
		conn.Close()
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("to %q: %v", c.says, err)
		}
		if got := string(answer[:n]); !strings.HasPrefix(got, c.hears) {
			t.Errorf("to %q it says %q", c.says, got)
		}
	}
	tr.stopped(p)
}
