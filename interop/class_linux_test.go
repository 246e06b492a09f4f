package interop

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/proc"
)

// hangTime is how long a peer that speaks the protocol may hang before it is replaced: 2 s of silence, the last call, and the
// time that a program takes to start here.
const hangTime = 5 * time.Second

// classPairs are the pairs that the class of clients/qt has to be good for. A is always the class.
var classPairs = []struct {
	name  string
	other func(t *testing.T, s *scene) []string
}{
	{"Qt", func(t *testing.T, s *scene) []string {
		return []string{qtBuild.program(t, "qtmember"), "B", "A", s.script("A")}
	}},
	{"Go", func(t *testing.T, s *scene) []string {
		return []string{build(t).pairguard, "guard", "B", "A", "--", s.script("A")}
	}},
}

// eachClassPair runs the test with each of the pairs, in scenes of their own.
func eachClassPair(t *testing.T, test func(s *scene)) {
	t.Parallel()
	for _, p := range classPairs {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			qtBuild.program(t, "qtmember")
			s := newScene(t)
			s.single = []string{"A", "B"}
			s.play("A", qtBuild.program(t, "qtmember"), "A", "B", s.script("B"))
			s.play("B", p.other(t, s)...)
			test(s)
		})
	}
}

// together starts one side and waits until each knows the other.
func (s *scene) together(first string) {
	s.t.Helper()
	defer s.pass()()
	s.start(first)
	s.told("A", pairguard.PeerUp)
	s.told("B", pairguard.PeerUp)
	s.settled("A", "B")
	for _, name := range []string{"A", "B"} {
		if st := s.status(name); st.Plain || !st.GuardsHang || st.Phase != "up" {
			s.t.Fatalf("status of %s: %+v", name, st)
		}
	}
	s.act()
}

// reunited waits for the aftermath's end with exactly these two, the one of name in place of old.
func (s *scene) reunited(name string, old proc.ID, since time.Time) {
	s.t.Helper()
	s.settled("A", "B")
	a, b := s.one("A"), s.one("B")
	if s.one(name) == old {
		s.t.Errorf("%s is still the old one", name)
	}
	s.throughout("both live on", time.Until(since.Add(aftermath)), func() bool { return s.one("A") == a && s.one("B") == b && s.exactly("A", "B") })
}

func TestClassHealthy(t *testing.T) {
	eachClassPair(t, func(s *scene) {
		s.urgent = true
		s.together("A")
		a, b := s.one("A"), s.one("B")
		s.throughout("both live on", 90*time.Second, func() bool { return s.one("A") == a && s.one("B") == b })
		if n := s.count(pairguard.PeerHung, pairguard.PeerDead); n != 0 {
			s.t.Errorf("%d judgements of healthy peers", n)
		}
	})
}

// TestClassFaults: each fault of either side, whoever was started first.
func TestClassFaults(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"A", "B"} {
		for _, victim := range []string{"A", "B"} {
			for _, fault := range []struct {
				name   string
				signal syscall.Signal
				limit  time.Duration
			}{{"killed", syscall.SIGKILL, revivalTime}, {"stopped", syscall.SIGSTOP, hangTime}} {
				t.Run(first+"First/"+victim+fault.name, func(t *testing.T) {
					eachClassPair(t, func(s *scene) {
						s.together(first)
						old, begin := s.one(victim), time.Now()
						s.signal(old, fault.signal)
						took := s.replaced(victim, old, fault.limit)
						s.t.Logf("back after %v", took)
						s.told(victim, pairguard.PeerUp)
						s.reunited(victim, old, begin)
					})
				})
			}
		}
	}
}

// TestClassDeadlock: the heartbeat comes from the main event loop, so a deadlock there is a hang.
func TestClassDeadlock(t *testing.T) {
	eachClassPair(t, func(s *scene) {
		s.together("B")
		old := s.one("A")
		s.signal(old, syscall.SIGUSR1)
		s.t.Logf("replaced after %v", s.replaced("A", old, hangTime))
		s.told("B", pairguard.PeerFenced)
		s.told("A", pairguard.PeerUp)
		s.settled("A", "B")
	})
}

func TestClassStop(t *testing.T) {
	eachClassPair(t, func(s *scene) {
		s.together("A")
		s.stopped()
	})
}

// TestClassCtrlC: SIGINT ends the pair.
func TestClassCtrlC(t *testing.T) {
	eachClassPair(t, func(s *scene) {
		s.together("A")
		s.signal(s.one("A"), syscall.SIGINT)
		s.eventually("both have ended", pairguard.DefaultGrace+time.Second, func() bool { return len(processes(s.root)) == 0 })
		s.throughout("nothing of the pair is there", 5*time.Second, func() bool { return len(processes(s.root)) == 0 })
	})
}

// TestClassStopKillsAHungPeer: the other one does not answer, and is killed after the grace.
func TestClassStopKillsAHungPeer(t *testing.T) {
	eachClassPair(t, func(s *scene) {
		s.together("A")
		if out, err := s.run(patience, "hold", "B"); err != nil {
			s.t.Fatalf("hold: %v %s", err, out)
		}
		s.signal(s.one("B"), syscall.SIGSTOP)
		s.signal(s.one("A"), syscall.SIGINT)
		s.eventually("both have ended", pairguard.DefaultGrace+3*time.Second, func() bool { return len(processes(s.root)) == 0 })
	})
}

// TestClassLeave: SIGTERM ends the one; the other stays and does not start it again, until a person does.
func TestClassLeave(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"A", "B"} {
		t.Run(who, func(t *testing.T) {
			eachClassPair(t, func(s *scene) {
				s.together("A")
				other := strings.Trim("AB", who)
				stays := s.one(other)
				s.signal(s.one(who), syscall.SIGTERM)
				s.told(other, pairguard.PeerLeft)
				s.throughout("the other one is alone", 5*time.Second, func() bool { return len(s.all(who)) == 0 && s.one(other) == stays })
				s.act()
				s.start(who)
				s.told(other, pairguard.PeerUp)
				s.settled("A", "B")
			})
		})
	}
}

// TestClassHold: a held peer is not judged; when the hold ends it is.
func TestClassHold(t *testing.T) {
	eachClassPair(t, func(s *scene) {
		s.together("A")
		if out, err := s.run(patience, "hold", "B"); err != nil {
			s.t.Fatalf("hold: %v %s", err, out)
		}
		s.told("A", pairguard.Held)
		b := s.one("B")
		s.signal(b, syscall.SIGSTOP)
		s.throughout("a held peer lives", 6*time.Second, func() bool { return s.one("B") == b })
		if out, err := s.run(patience, "unhold", "B"); err != nil {
			s.t.Fatalf("unhold: %v %s", err, out)
		}
		s.replaced("B", b, hangTime)
		s.settled("A", "B")
	})
}

// TestClassHeals: files that somebody removes come back, and nobody is harmed.
func TestClassHeals(t *testing.T) {
	eachClassPair(t, func(s *scene) {
		s.together("A")
		a, b := s.one("A"), s.one("B")
		for _, file := range []string{"A.lock", "A.sock"} {
			os.Remove(s.dir() + "/" + file)
			s.eventually(file+" is back", patience, func() bool { _, err := os.Lstat(s.dir() + "/" + file); return err == nil })
		}
		s.eventually("the status is what it was", patience, func() bool { st := s.status("A"); return st.Phase == "up" && st.PID == a.PID })
		s.throughout("both live on", 5*time.Second, func() bool { return s.one("A") == a && s.one("B") == b })
	})
}

// TestClassHundredKills: either side in turn, as soon as both know each other again.
func TestClassHundredKills(t *testing.T) {
	eachClassPair(t, func(s *scene) {
		s.together("A")
		var slowest time.Duration
		for n := range 100 {
			victim, other := "A", "B"
			if n%2 == 1 {
				victim, other = other, victim
			}
			old := s.one(victim)
			s.act()
			s.signal(old, syscall.SIGKILL)
			slowest = max(slowest, s.replaced(victim, old, patience)) // what is promised here is that there are two again
			s.told(victim, pairguard.PeerUp)
			s.told(other, pairguard.PeerUp)
			s.settled("A", "B")
		}
		s.t.Logf("100 kills, the slowest was back after %v", slowest)
		if n := s.count(pairguard.PeerHung); n != 0 {
			s.t.Errorf("%d were judged hung", n)
		}
	})
}

// TestClassWithoutPidfd: an older kernel has no handles on processes; start times stand in.
func TestClassWithoutPidfd(t *testing.T) {
	eachClassPair(t, func(s *scene) {
		s.env = append(s.env, "PAIRGUARD_TEST_WITHOUT=pidfd")
		s.together("A")
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
			for _, victim := range []string{"A", "B"} {
				s.act()
				old := s.one(victim)
				s.signal(old, sig)
				s.replaced(victim, old, hangTime)
				s.told(victim, pairguard.PeerUp)
				s.settled("A", "B")
			}
		}
		s.stopped()
	})
}
