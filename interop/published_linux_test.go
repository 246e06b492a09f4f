package interop

import (
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
)

// Bounds of the pair of `pairguard guard` and an unchanged program with the published class.
const (
	aftermath   = 60 * time.Second // after a fault and its repair, exactly two processes until here
	revivalTime = 3 * time.Second
	fencingTime = 8 * time.Second // of a stopped plain peer: suspect after 5 s at the earliest, then replaced
	qtTimer     = 5 * time.Second
	slack       = 3 * time.Second // for a program to start on a busy machine
)

// newPlainScene has a plain Qt program "qt", called qt:A, and `pairguard guard` "guard", called qt:B.
func newPlainScene(t *testing.T, qtFlags ...string) *scene {
	t.Helper()
	t.Parallel()
	qtplain := qtBuild.program(t, "qtplain")
	s := newScene(t)
	s.single = []string{"qt"}
	s.play("guard", build(t).pairguard, "guard", "qt:B", "qt:A", "--json", "--", s.script("qt"))
	s.play("qt", append([]string{qtplain, "A", "B", s.script("guard")}, qtFlags...)...)
	return s
}

// linked starts our side first and waits until both know each other: a program that finds us at its start opens its link.
func (s *scene) linked() {
	s.t.Helper()
	defer s.pass()()
	s.start("guard")
	s.told("qt:B", pairguard.PeerUp)
	s.settled("qt", "guard")
	if st := s.status("qt:B"); !st.Plain || !st.GuardsHang || st.Phase != "up" {
		s.t.Fatalf("the status of a plain peer that speaks to us: %+v", st)
	}
	s.act()
}

// calm: exactly two processes until the aftermath is over, and no judgement.
func (s *scene) calm(since time.Time) {
	s.t.Helper()
	s.throughout("one Qt program and at most one guard that wants to start", time.Until(since.Add(aftermath))-time.Second,
		func() bool { return len(s.all("qt")) == 1 })
	s.settled("qt", "guard")
	if since := time.Since(since); since > aftermath+qtTimer {
		s.t.Errorf("exactly two processes only after %v", since)
	}
}

func TestPublishedClassHealthy(t *testing.T) {
	s := newPlainScene(t)
	s.urgent = true
	s.linked()
	qt, guard := s.one("qt"), s.one("guard")
	s.throughout("both live on", 90*time.Second, func() bool { return s.one("qt") == qt && s.one("guard") == guard })
	if n := s.count(pairguard.PeerHung, pairguard.PeerDead); n != 0 {
		t.Errorf("%d judgements of a healthy peer", n)
	}
}

func TestPublishedClassKilled(t *testing.T) {
	s := newPlainScene(t)
	s.linked()
	qt, begin := s.one("qt"), time.Now()
	s.signal(qt, syscall.SIGKILL)
	t.Logf("back after %v", s.replaced("qt", qt, revivalTime))
	s.told("qt:B", pairguard.PeerUp)
	if st := s.status("qt:B"); !st.GuardsHang || st.Revived != 1 {
		t.Errorf("status after the revival: %+v", st)
	}
	s.calm(begin)
}

func TestPublishedClassStoppedBySIGSTOP(t *testing.T) {
	s := newPlainScene(t)
	s.linked()
	qt, begin := s.one("qt"), time.Now()
	s.signal(qt, syscall.SIGSTOP)
	t.Logf("replaced after %v", s.replaced("qt", qt, fencingTime))
	s.told("qt:B", pairguard.PeerFenced)
	s.calm(begin)
}

// TestGuardOfPublishedClassKilled: Qt's own timer brings our side back, and nothing happens to the Qt program meanwhile. It never
// opens its link again, so it is guarded against death only.
func TestGuardOfPublishedClassKilled(t *testing.T) {
	s := newPlainScene(t)
	s.linked()
	qt, guard, begin := s.one("qt"), s.one("guard"), time.Now()
	s.signal(guard, syscall.SIGKILL)
	t.Logf("back after %v", s.replaced("guard", guard, qtTimer+slack))
	s.told("qt:B", pairguard.PeerUp)
	if st := s.status("qt:B"); st.GuardsHang || !st.Plain || st.PeerPID != qt.PID {
		t.Errorf("status of the new guard: %+v", st)
	}
	s.calm(begin)
	if s.one("qt") != qt {
		t.Error("the Qt program is another one")
	}
}

// TestPublishedClassFirst: started first it finds nobody to connect to and never tries again. It is guarded against death, not
// against hanging, and the status says so.
func TestPublishedClassFirst(t *testing.T) {
	s := newPlainScene(t)
	s.start("qt")
	s.told("qt:B", pairguard.PeerUp)
	qt, begin := s.settled("qt", "guard"), time.Now()
	if st := s.status("qt:B"); st.GuardsHang || !st.Plain || st.PeerPID != qt.PID {
		t.Errorf("status of a peer that never links: %+v", st)
	}
	s.signal(qt, syscall.SIGSTOP)
	s.throughout("a silent peer that never linked lives", 20*time.Second, func() bool { return s.one("qt") == qt })
	s.signal(qt, syscall.SIGCONT)
	s.calm(begin)
	if n := s.count(pairguard.PeerHung, pairguard.PeerDead); n != 0 || s.one("qt") != qt {
		t.Errorf("%d judgements of a peer that cannot be judged", n)
	}
	s.act()
	s.signal(qt, syscall.SIGKILL)
	t.Logf("back after %v", s.replaced("qt", qt, revivalTime))
	s.told("qt:B", pairguard.PeerUp)
	if st := s.status("qt:B"); !st.GuardsHang {
		t.Errorf("the new one found us at its start: %+v", st)
	}
}

func TestPublishedClassStop(t *testing.T) {
	s := newPlainScene(t)
	s.linked()
	s.stopped()
}

// TestPublishedClassStopWithoutGuard: only the plain program is there, and would soon start us again.
func TestPublishedClassStopWithoutGuard(t *testing.T) {
	s := newPlainScene(t)
	s.linked()
	s.signal(s.one("guard"), syscall.SIGKILL)
	s.eventually("the guard is gone", patience, func() bool { return len(s.all("guard")) == 0 })
	s.stopped()
}

// TestReconnectingPlainPeer: a program that tries again for ever is guarded against hanging also after we were away.
func TestReconnectingPlainPeer(t *testing.T) {
	s := newPlainScene(t, "--reconnect")
	s.start("qt")
	s.told("qt:B", pairguard.PeerUp)
	s.settled("qt", "guard")
	s.eventually("it opens its link to us", patience, func() bool { return s.status("qt:B").GuardsHang })

	s.act()
	qt, guard, begin := s.one("qt"), s.one("guard"), time.Now()
	s.signal(guard, syscall.SIGKILL)
	s.replaced("guard", guard, qtTimer+slack)
	s.told("qt:B", pairguard.PeerUp)
	s.eventually("it opens its link again", patience, func() bool { return s.status("qt:B").GuardsHang })
	s.calm(begin)
	if s.one("qt") != qt {
		t.Error("the Qt program is another one")
	}

	s.act()
	s.signal(qt, syscall.SIGSTOP)
	s.replaced("qt", qt, fencingTime)
	s.told("qt:B", pairguard.PeerFenced)
	s.settled("qt", "guard")
}
