package protocol

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/detector"
)

// sights are the looks that a suspect can offer, at a time.
var sights = map[string]func(now time.Duration) detector.Sample{
	"asleep":     func(time.Duration) detector.Sample { return sight(0, 0, 0, 0) },
	"stopped":    func(time.Duration) detector.Sample { return sight(0, 0, 5, 0) },
	"disk":       func(time.Duration) detector.Sample { return sight(0, 1, 0, 0) },
	"starved":    func(now time.Duration) detector.Sample { return sight(1, 0, 0, now/100_000) },
	"spinning":   func(now time.Duration) detector.Sample { return sight(1, 0, 0, now) },
	"traced":     func(time.Duration) detector.Sample { s := sight(0, 0, 0, 0); s.Tracer = "gdb (process 7)"; return s },
	"frozen":     func(time.Duration) detector.Sample { s := sight(0, 0, 0, 0); s.Frozen = "/app"; return s },
	"unreadable": func(time.Duration) detector.Sample { return detector.Sample{Err: "permission denied"} },
}

func sight(runnable, blocked, stopped int, cpu time.Duration) detector.Sample {
	return detector.Sample{
		Threads: 5, Runnable: runnable, Blocked: blocked, Stopped: stopped,
		CPU: cpu, CPUKnown: true, FrozenKnown: true, RunDelay: -1, Throttled: -1,
	}
}

// plays are the rows of docs/judging.md that are not told by a sight.
var plays = map[string]func(*story){
	"no-handle": func(s *story) {
		s.tell("begin unseen", "dialed 1 p0", "greeted 1 p0", "greeted 2 p0")
	},
	"look-hangs":        func(s *story) { s.tell("settled", "sees nothing") },
	"answers-healthy":   func(s *story) { s.tell("settled", "run 2050ms", "dialed 3 p7 probe", "greeted 3 p7") },
	"answers-unhealthy": func(s *story) { s.tell("settled", "run 2050ms", "dialed 3 p7 probe", "greeted 3 p7 bad") },
	"late-ourselves":    func(s *story) { s.tell("settled", "sleep 1h", "tick", "run 1s", "beat 2", "leave") },
	"suspended": func(s *story) {
		if s.cfg.Generation%2 == 0 { // the clock runs on
			s.tell("settled", "run 1s", "sleep 8h", "tick", "beat 2", "leave")
		} else { // it stands still with the machine
			s.tell("settled", "run 1s", "tick", "run 900ms", "beat 2", "leave")
		}
	},
	"held": func(s *story) { s.tell("settled", "sees stopped", "look", "surveyed token=1 held=1h") },
}

func (s *story) tell(commands ...string) {
	for _, c := range commands {
		if err := s.command(strings.Fields(c)); err != nil {
			panic(err)
		}
	}
}

// TestJudgingTable plays each row of docs/judging.md.
func TestJudgingTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/judging.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|.*\\| ([a-z ]+) \\| ((?:`[a-z_]+`(?:, )?)+|none) \\|$")
	played := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		played[m[1]] = true
		for generation := range uint64(2) {
			playRow(t, m[1], m[2], regexp.MustCompile("[a-z]+_[a-z]+").FindAllString(m[3], -1), generation)
		}
	}
	for name := range sights {
		if !played[name] {
			t.Errorf("docs/judging.md has no row %q", name)
		}
	}
	for name := range plays {
		if !played[name] {
			t.Errorf("docs/judging.md has no row %q", name)
		}
	}
}

// playRow lets ten minutes pass and looks what became of the peer, and when.
func playRow(t *testing.T, name, then string, events []string, generation uint64) {
	s := newStory()
	s.cfg.Generation = generation
	s.text.Grow(1 << 20)
	switch play := plays[name]; {
	case play != nil:
		s.machineOf()
		play(s)
	case sights[name] != nil:
		s.machineOf()
		s.tell("settled", "sees "+name)
	default:
		t.Errorf("the row %q cannot be played", name)
		return
	}
	s.runUntil(s.now + 10*time.Minute)
	notice := regexp.MustCompile(`(?m)^    (\S+)(?:.*\n(?: {17}.*\n)*?) {17}\* (peer_[a-z]+) `)
	hungAt, kinds := time.Duration(0), map[string]bool{}
	for _, m := range notice.FindAllStringSubmatch(s.text.String(), -1) {
		kinds[m[2]] = true
		if at, err := time.ParseDuration(m[1]); err == nil && m[2] == "peer_hung" && hungAt == 0 {
			hungAt = at
		}
	}
	least, most := time.Duration(0), time.Duration(0) // when it may be judged
	switch then {
	case "judged":
		least, most = 2*time.Second, 2500*time.Millisecond
	case "unsure":
		least, most = 30*time.Second, 31*time.Second
	case "up":
		least, most = 2*time.Second, 10*time.Minute // it falls silent again
	case "not judged":
	default:
		t.Errorf("%s: %q is no end of a suspicion", name, then)
	}
	told := !slices.ContainsFunc(events, func(e string) bool { return !kinds[e] }) && kinds["peer_late"] == slices.Contains(events, "peer_late")
	if hungAt < least || hungAt > most || !told {
		t.Errorf("%s: judged at %v with the events %v, want %s (%v to %v) and %q", name, hungAt, kinds, then, least, most, events)
	}
}

func (s *story) machineOf() { s.machine = New(s.cfg) }
