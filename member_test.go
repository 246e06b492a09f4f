package pairguard

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

func TestPeerIsStartedAndRevivedAfterAKill(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", nil).run()
	first := p.await(PeerUp)
	p.open(first.PeerPID).Kill()
	dead := p.await(PeerDead)
	second := p.await(PeerUp)
	if dead.PeerPID != first.PeerPID || dead.Reason != killed {
		t.Errorf("peer_dead is %+v, want pid %d by %s", dead, first.PeerPID, killed)
	}
	if second.PeerPID == first.PeerPID || second.Generation != first.Generation+1 {
		t.Errorf("peer_up is %+v, want a new process of generation %d", second, first.Generation+1)
	}
	if second.After <= 0 || second.After > 3*time.Second+slack {
		t.Errorf("the peer was away for %v, want at most 3 s", second.After)
	}
	// The new peer may speak before its start is on record, which counts it.
	good := func(s Status) bool {
		return s.Phase == "up" && s.PeerPID == second.PeerPID && s.Revived == 1 && s.GuardsHang
	}
	for deadline := time.Now().Add(patience); !good(p.a.Status()); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("status is %+v", p.a.Status())
		}
	}
}

func TestStoppedPeerIsJudgedFencedAndRevived(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", nil).run()
	first := p.await(PeerUp)
	began := time.Now()
	suspend(t, p.open(first.PeerPID))
	for _, kind := range []EventKind{PeerSuspect, PeerHung, PeerFenced, PeerStarted} {
		p.await(kind)
	}
	if second := p.await(PeerUp); second.Time.Sub(began) > 3*time.Second+slack {
		t.Errorf("a hung peer was replaced after %v, want at most 3 s", second.Time.Sub(began))
	}
}

func TestDeadlockedApplicationIsReplaced(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"deadlock", "beating", "failing"} {
		t.Run(role, func(t *testing.T) {
			p := newPair(t, role, nil).run()
			first := p.await(PeerUp)
			p.healthyFor(3)
			began := time.Now()
			if err := os.WriteFile(p.flag, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			p.await(PeerHung)
			os.Remove(p.flag)
			second := p.await(PeerUp)
			if second.PeerPID == first.PeerPID {
				t.Error("the deadlocked process was not replaced")
			}
			// The check runs once a heartbeat, so it can notice the flag that much later.
			if took := second.Time.Sub(began); took > 4*time.Second+slack {
				t.Errorf("a deadlocked application was replaced after %v", took)
			}
		})
	}
}

// healthyFor waits for some heartbeats of the peer, by our own: what has been
// heard for so long is not a start's grace any more.
func (p *pair) healthyFor(beats int) {
	p.t.Helper()
	for range beats {
		<-time.After(DefaultHeartbeat)
		if n := p.count(PeerSuspect); n != 0 {
			p.t.Fatalf("a healthy peer was suspected %d times", n)
		}
	}
}

func TestLeaveOfThePeerIsNotAnswered(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", nil).run()
	up := p.await(PeerUp)
	h := p.open(up.PeerPID)
	h.Terminate()
	p.await(PeerLeft)
	p.gone(h)
	// A restart would be due at once; a look at the folder shows that none is.
	if err := p.a.Hold(time.Minute, "look"); err != nil {
		t.Fatal(err)
	}
	p.await(Held)
	if n := p.count(PeerStarted); n > 1 { // 0: it was up and gone before its start was on record
		t.Errorf("the peer was started %d times, want once", n)
	}
	if s := p.a.Status(); s.Phase != "left" {
		t.Errorf("phase is %q, want left", s.Phase)
	}
}

func TestStopEndsThePeerToo(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", nil).run()
	h := p.open(p.await(PeerUp).PeerPID)
	p.a.Stop("test")
	if err := <-p.result; err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	p.result <- nil
	p.gone(h)
}

func TestStopKillsAPeerThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", func(c *Config) { c.Grace = 300 * time.Millisecond }).run()
	h := p.open(p.await(PeerUp).PeerPID)
	suspend(t, h)
	p.a.Stop("test")
	if err := <-p.result; err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	p.result <- nil
	p.gone(h)
}

func TestCancelIsALeave(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", nil).run()
	h := p.open(p.await(PeerUp).PeerPID)
	p.cancel()
	if err := <-p.result; err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	select {
	case <-h.Done():
		t.Error("the peer ended with us, want it to stay")
	default:
	}
	p.result <- nil
	h.Kill()
	p.gone(h)
}

func TestHeldPeerIsNotRevivedBeforeTheHoldEnds(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", nil).run()
	h := p.open(p.await(PeerUp).PeerPID)
	if err := p.a.Hold(time.Hour, "update"); err != nil {
		t.Fatal(err)
	}
	p.await(Held)
	h.Kill()
	p.await(PeerDead)
	if s := p.a.Status(); s.Held <= 0 || s.PeerPID != 0 {
		t.Errorf("status is %+v, want held without a peer", s)
	}
	if err := p.a.Unhold(); err != nil {
		t.Fatal(err)
	}
	p.await(Unheld)
	p.await(PeerUp)
}

func TestSecondHolderIsTurnedAway(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", nil).run()
	p.await(PeerUp)
	other, err := New(Config{Self: "B", Peer: "A", Command: []string{os.Args[0]}, Dir: p.a.settings.Dir})
	if err != nil {
		t.Fatal(err)
	}
	err = other.Run(context.Background())
	var taken *NameTakenError
	if !errors.As(err, &taken) || !errors.Is(err, ErrNameTaken) || taken.PID != p.a.Status().PeerPID {
		t.Errorf("Run returned %v, want the name taken by process %d", err, p.a.Status().PeerPID)
	}
}

func TestRunTwiceIsRefused(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", nil).run()
	p.await(PeerUp)
	if err := p.a.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "once") {
		t.Errorf("a second Run returned %v", err)
	}
}

// A revival was decided, then a person started the name and it left: what the
// revival started must end, and the goodbye must stand.
func TestRevivalOfANameThatHasLeftMeanwhileEnds(t *testing.T) {
	p := newPair(t, "member", nil)
	life, err := p.a.dir.Claim(p.a.self)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.a.dir.BeginLife(p.a.self, p.a.peer, ""); err != nil {
		t.Fatal(err)
	}
	me, err := proc.Self()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.a.dir.StoreSpawn(p.a.self, pairdir.Spawn{Token: "decided", By: me}); err != nil {
		t.Fatal(err)
	}
	if err := p.a.dir.StoreLeave(p.a.self, pairdir.Goodbye{Process: me}); err != nil {
		t.Fatal(err)
	}
	if err := life.Release(); err != nil {
		t.Fatal(err)
	}
	t.Setenv(revivalVariable, "decided")
	if err := p.a.Run(context.Background()); err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	if _, left, err := p.a.dir.ReadLeave(p.a.self); !left || err != nil {
		t.Errorf("left is %v, %v: the leave has to stand", left, err)
	}
	if n := p.count(Listening); n != 0 {
		t.Error("it listened")
	}
}

// The working directory has been removed under a running pair: the peer comes back
// all the same, and the event log says where.
func TestRevivalWithoutItsWorkingDirectory(t *testing.T) {
	t.Parallel()
	var gone string
	p := newPair(t, "member", func(c *Config) {
		gone = filepath.Join(filepath.Dir(c.Dir), "work")
		if err := os.Mkdir(gone, 0o700); err != nil {
			t.Fatal(err)
		}
		c.WorkDir = gone
	})
	remove := func() {
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
	}
	var first Event
	if runtime.GOOS == "windows" { // keeps the folder as long as a process is in it
		remove()
		p.run().await(Listening)
	} else {
		first = p.run().await(PeerUp)
		remove()
		p.open(first.PeerPID).Kill()
		p.await(PeerDead)
	}
	if e := p.await(Listening); !strings.Contains(e.Reason, gone) {
		t.Errorf("told %q, want a word about %s", e.Reason, gone)
	}
	if second := p.await(PeerUp); second.PeerPID == first.PeerPID {
		t.Error("the peer was not started again")
	}
	// It, too, answers a death from there.
	if s := p.a.Status(); s.Phase != "up" {
		t.Errorf("phase is %s", s.Phase)
	}
}

// The name was that of a member once; now an ordinary program is guarded under it.
// It will never say HELLO, and that is no fault.
func TestOrdinaryProgramUnderAnOldNameIsNotJudged(t *testing.T) {
	t.Parallel()
	p := newPair(t, "idle", func(c *Config) { c.StartTimeout = 100 * time.Millisecond })
	life, err := p.a.dir.Claim(p.a.peer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.a.dir.BeginLife(p.a.peer, p.a.self, ""); err != nil {
		t.Fatal(err)
	}
	if err := life.Release(); err != nil {
		t.Fatal(err)
	}
	p.run()
	h := p.open(p.await(PeerStarted).PeerPID)
	p.await(PeerSilent)
	select {
	case <-h.Done():
		t.Error("the program was ended")
	case <-time.After(2 * time.Second): // the start window ends again after 0.2, 0.4 and 0.8 s
	}
	if n := p.count(PeerHung) + p.count(PeerSuspect); n != 0 {
		t.Errorf("it was suspected or judged %d times", n)
	}
}

// An application that never returns from OnEvent does not silence the event log.
func TestEventLogGoesOnWhileTheApplicationBlocks(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	p := newPair(t, "member", func(c *Config) { c.OnEvent = func(Event) { <-stuck } }).run()
	t.Cleanup(func() { close(stuck) }) // before the pair's own end
	folder, err := OpenFolder(p.a.dir.Path())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		events, _ := folder.Events()
		for _, e := range events {
			if e.Kind == PeerUp && e.Self == "A" {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the event log does not say that the peer is up")
		}
	}
}

func TestStatusBeforeRunNeverBlocks(t *testing.T) {
	p := newPair(t, "member", nil)
	for range 200 {
		if s := p.a.Status(); s.Phase != "unbegun" {
			t.Fatalf("phase is %q before Run", s.Phase)
		}
	}
}

// A process cannot guard itself.
func TestBothMembersInOneProcessAreRefused(t *testing.T) {
	p := newPair(t, "member", nil)
	claim, err := p.a.dir.Claim(p.a.peer) // as the other member's Run does
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	err = p.a.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "two processes") || errors.Is(err, ErrNameTaken) {
		t.Errorf("Run returned %v", err)
	}
	if h, err := p.a.dir.Holder(p.a.self); err != nil || h.Held {
		t.Errorf("the name is still held: %+v, %v", h, err)
	}
}

// What was asked before Run is done when it has begun, and asking never waits.
func TestRequestsBeforeRunNeverBlock(t *testing.T) {
	p := newPair(t, "member", nil)
	for range 70 {
		p.a.Leave("asked early")
		p.a.Stop("asked early")
		if err := p.a.Hold(time.Second, "asked early"); err != nil {
			t.Fatal(err)
		}
		if err := p.a.Unhold(); err != nil {
			t.Fatal(err)
		}
	}
	p.run()
	select {
	case err := <-p.result:
		if err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		p.result <- err // for the pair's own end
	case <-time.After(patience):
		t.Fatal("Run goes on")
	}
	if _, stopped, err := p.a.dir.ReadStop(p.a.self, p.a.peer); err != nil || !stopped {
		t.Errorf("a stop after a leave is stored: %v, %v", stopped, err)
	}
}

// Whoever stored the pair's stop died before it could tell the members.
func TestStopThatNobodyToldIsFound(t *testing.T) {
	t.Parallel()
	p := newPair(t, "member", nil).run()
	h := p.open(p.await(PeerUp).PeerPID)
	if err := p.a.dir.StoreStop(p.a.self, p.a.peer, pairdir.Goodbye{Reason: "by one who is gone"}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.result:
		if err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		p.result <- nil
	case <-time.After(patience):
		t.Fatal("the stop was not found")
	}
	p.gone(h)
}

// A plain peer's own timer may start us in the middle of a stop: that is no person. Once the stop is over it is.
func TestStartByAPlainPeerDuringAStopObeysIt(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	author := exec.Command(os.Args[0])
	author.Env = append(os.Environ(), roleVariable+"=idle")
	if err := author.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { author.Process.Kill(); author.Wait() })
	h, err := proc.Open(author.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	plain := newPair(t, "idle", func(c *Config) { c.Self, c.Peer = "qt:A", "qt:B" })
	ordinary := newPair(t, "idle", nil)
	for _, c := range []struct {
		name   string
		m      *Member
		stop   pairdir.Goodbye
		stands bool
	}{
		{"under way", plain.a, pairdir.Goodbye{Process: h.ID()}, true},
		{"long ago", plain.a, pairdir.Goodbye{Process: h.ID(), Time: time.Now().Add(-freshStop)}, false},
		{"in the future", plain.a, pairdir.Goodbye{Process: h.ID(), Time: time.Now().Add(time.Hour)}, false},
		{"by one who is gone", plain.a, pairdir.Goodbye{Process: proc.ID{BootID: h.ID().BootID, PID: h.PID(), Start: h.ID().Start + 1}}, false},
		{"of a pair where nobody can be plain", ordinary.a, pairdir.Goodbye{Process: h.ID()}, false},
	} {
		if err := c.m.dir.StoreStop(c.m.self, c.m.peer, c.stop); err != nil {
			t.Fatal(err)
		}
		if err := c.m.resume(proc.ID{}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, stands, err := c.m.dir.ReadStop(c.m.self, c.m.peer); err != nil || stands != c.stands {
			t.Errorf("%s: the stop stands: %v, %v", c.name, stands, err)
		}
	}
	if err := plain.a.dir.StoreStop(plain.a.self, plain.a.peer, pairdir.Goodbye{Process: h.ID()}); err != nil {
		t.Fatal(err)
	}
	if err := plain.a.Run(withPatience(t)); err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	if n := plain.count(PeerStarted); n != 0 {
		t.Error("it started its peer in the middle of a stop")
	}
}
