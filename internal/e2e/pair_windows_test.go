package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
)

func TestKillInTurn(t *testing.T) {
	s := newScene(t)
	s.guard("procA", "procB", "--backoff", "0")
	s.awaitUp("procA", "procB")
	var away []time.Duration
	for round := range times(10, 100) {
		name := []string{"procB", "procA"}[round%2]
		old := s.open(s.holder(name))
		killed := time.Now()
		if err := old.Kill(); err != nil {
			t.Fatal(err)
		}
		away = append(away, s.replaced(name, old.PID(), killed))
		s.gone(old)
		s.awaitUp("procA", "procB")
	}
	t.Logf("away: p50 %v, p99 %v, longest %v", quantile(away, 0.5), quantile(away, 0.99), quantile(away, 1))
	if longest := quantile(away, 1); longest > awayLimit {
		t.Errorf("a peer was away for %v", longest)
	}
}

func TestKillsWithDefaults(t *testing.T) {
	s := newScene(t)
	s.guard("procA", "procB")
	s.awaitUp("procA", "procB")
	for range times(2, 5) {
		old := s.open(s.holder("procB"))
		killed := time.Now()
		_ = old.Kill()
		if away := s.replaced("procB", old.PID(), killed); away > awayLimit {
			t.Errorf("away for %v", away)
		}
	}
}

func TestHangIsReplaced(t *testing.T) {
	s := newScene(t)
	s.guard("procA", "procB", "--backoff", "0")
	s.awaitUp("procA", "procB")
	var all []time.Duration
	for round := range times(2, 10) {
		name := []string{"procB", "procA"}[round%2]
		old := s.open(s.holder(name))
		frozen := time.Now()
		if err := old.Freeze(); err != nil {
			t.Fatal(err)
		}
		away := s.replaced(name, old.PID(), frozen)
		if away > awayLimit {
			t.Errorf("%s hung for %v", name, away)
		}
		s.gone(old)
		all = append(all, away)
		s.awaitUp("procA", "procB")
	}
	t.Logf("replaced after: p50 %v, longest %v", quantile(all, 0.5), quantile(all, 1))
}

var takenLine = regexp.MustCompile(`^pairguard: the name procA is taken by process (\d+): [^\n]+$`)

func TestOneOfTwenty(t *testing.T) {
	s := newScene(t)
	all := make([]*actor, 20)
	for i := range all {
		all[i] = s.guard("procA", "procB")
	}
	s.awaitUp("procA", "procB")
	holder, refused := s.holder("procA"), 0
	for _, a := range all {
		if a.PID() == holder {
			continue
		}
		s.ended(a, 100)
		refused++
		if m := takenLine.FindStringSubmatch(a.said()); m == nil || m[1] != strconv.Itoa(holder) {
			t.Errorf("holder %d; one that was refused said %q", holder, a.said())
		}
	}
	if refused != len(all)-1 {
		t.Errorf("%d were refused, the holder is process %d", refused, holder)
	}
}

func TestBothStartedAtOnce(t *testing.T) {
	for range times(2, 10) {
		s := newScene(t)
		a := s.guard("procA", "procB")
		b := s.guard("procB", "procA")
		s.awaitUp("procA", "procB")
		if s.holder("procA") != a.PID() || s.holder("procB") != b.PID() {
			t.Errorf("started %d and %d, but %d and %d hold the names", a.PID(), b.PID(), s.holder("procA"), s.holder("procB"))
		}
		s.stop()
		s.ended(a, 0)
		s.ended(b, 0)
	}
}

// Asked to end, as taskkill without /F does: a leave, which is not answered.
func TestLeaveIsNotAnswered(t *testing.T) {
	s := newScene(t)
	a := s.guard("procA", "procB")
	s.awaitUp("procA", "procB")
	b := s.open(s.holder("procB"))
	if err := a.Terminate(); err != nil {
		t.Fatal(err)
	}
	s.ended(a, 0)
	s.until("procB knows", func() bool { return s.count("procB", pairguard.PeerLeft) == 1 })
	// Looked at again and again: the folder's members are asked, who survey it.
	for over := time.Now().Add(3 * time.Second); time.Now().Before(over); {
		if _, err := s.folder.Members(s.ctx); err != nil {
			t.Fatal(err)
		}
		if s.holder("procA") != 0 || s.count("procB", pairguard.PeerStarted) != 0 {
			t.Fatal("the one that left was brought back")
		}
	}
	if s.holder("procB") != b.PID() {
		t.Error("procB did not stay")
	}
	// It is guarded again when a person starts it.
	s.guard("procA", "procB")
	s.awaitUp("procA", "procB")
}

func TestStopEndsThePairForGood(t *testing.T) {
	s := newScene(t)
	s.guard("procA", "procB")
	s.awaitUp("procA", "procB")
	began := time.Now()
	stop := s.start(command("pairguard"), nil, "stop", "--dir", s.dir)
	s.ended(stop, 0)
	if took := time.Since(began); took > pairguard.DefaultGrace+time.Second+slack {
		t.Errorf("the stop took %v", took)
	}
	for over := time.Now().Add(3 * time.Second); time.Now().Before(over); {
		if left := s.processes(); len(left) != 0 {
			t.Fatalf("processes after the stop: %v", left)
		}
	}
	s.guard("procB", "procA") // a person starts either member
	s.awaitUp("procA", "procB")
}

func TestStopKillsWhatHangs(t *testing.T) {
	s := newScene(t)
	s.guard("procA", "procB")
	s.awaitUp("procA", "procB")
	for _, name := range []string{"procA", "procB"} {
		if err := s.open(s.holder(name)).Freeze(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	s.ended(s.start(command("pairguard"), nil, "stop", "--grace", "500ms", "--dir", s.dir), 0)
	if took := time.Since(began); took > 500*time.Millisecond+time.Second+slack {
		t.Errorf("the stop took %v", took)
	}
	if left := s.processes(); len(left) != 0 {
		t.Errorf("processes after the stop: %v", left)
	}
}

// Both die in one instant, and leave everything in the folder as it was.
func TestStaleStateIsNoObstacle(t *testing.T) {
	s := newScene(t)
	s.guard("procA", "procB")
	s.awaitUp("procA", "procB")
	for round := range times(2, 5) {
		for _, name := range []string{"procA", "procB"} {
			// Frozen first, so that neither can notice the death of the other.
			h := s.open(s.holder(name))
			if err := h.Freeze(); err != nil {
				t.Fatal(err)
			}
			defer s.gone(h)
		}
		for _, name := range []string{"procA", "procB"} {
			_ = s.open(s.holder(name)).Kill()
		}
		s.until("nobody is left", func() bool { return len(s.processes()) == 0 })
		if round%2 == 1 {
			for _, file := range []string{"proca.lock", "procb.lock", "proca.life", "procb.spawn"} {
				if err := os.WriteFile(filepath.Join(s.dir, file), []byte("%%%"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.guard("procB", "procA")
		s.awaitUp("procA", "procB")
	}
}

func TestPathsWithSpacesAndChineseCharacters(t *testing.T) {
	s := newSceneIn(t, "守护 folder")
	exe := filepath.Join(s.root, "程序 x", "pairguard.exe")
	if err := os.Mkdir(filepath.Dir(exe), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(exe, must(os.ReadFile(command("pairguard")))(s), 0o700); err != nil {
		t.Fatal(err)
	}
	s.start(exe, nil, "guard", "procA", "procB", "--dir", s.dir)
	s.awaitUp("procA", "procB")
	old := s.open(s.holder("procB"))
	_ = old.Kill()
	s.replaced("procB", old.PID(), time.Now())
	s.awaitUp("procA", "procB")
}

// The two programs of the example, which name each other by a relative path.
func TestExampleOfTwoProcesses(t *testing.T) {
	s := newScene(t)
	for _, name := range []string{"procA", "procB"} {
		if err := os.WriteFile(filepath.Join(s.root, name+".exe"), must(os.ReadFile(command(name)))(s), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.start(filepath.Join(s.root, "procA.exe"), []string{"PAIRGUARD_DIR=" + s.dir})
	s.awaitUp("procA", "procB")
	for round := range 4 {
		name := []string{"procB", "procA"}[round%2]
		old := s.open(s.holder(name))
		_ = old.Kill()
		s.replaced(name, old.PID(), time.Now())
		s.awaitUp("procA", "procB")
	}
	if text := s.events(); !strings.Contains(text, "exit code 1") {
		t.Errorf("no event tells how a peer ended: %s", text)
	}
}
