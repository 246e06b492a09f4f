package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// name draws what a name or an address can be, characters that need encoding among them, and some that are too long for a line.
func name() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`),
		rapid.StringMatching(`(qt:|/run/|\\\\\.\\pipe\\)[a-z %=主备\x01]{1,60}`),
	)
}

func millis(least time.Duration) *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(int64(least/time.Millisecond), int64(MaxDuration/time.Millisecond)).Draw(t, "ms")) * time.Millisecond
	})
}

// valid draws a message that Parse gives back exactly as it was.
func valid() *rapid.Generator[Message] {
	pid := rapid.IntRange(1, maxPID)
	reason := rapid.StringN(0, 30, 50)
	return rapid.Custom(func(t *rapid.T) Message {
		switch rapid.IntRange(0, 6).Draw(t, "word") {
		case 0:
			return Hello{Version, WireName(name().Draw(t, "self")), WireName(name().Draw(t, "peer")), pid.Draw(t, "pid"),
				rapid.Uint64().Draw(t, "gen"), millis(time.Millisecond).Draw(t, "heartbeat"), rapid.Bool().Draw(t, "healthy")}
		case 1:
			return Beat{rapid.Uint64().Draw(t, "seq"), rapid.Bool().Draw(t, "healthy"), millis(0).Draw(t, "age"), reason.Draw(t, "reason")}
		case 2:
			return Bye{rapid.SampledFrom([]GoodbyeKind{Leave, Stop}).Draw(t, "kind"), reason.Draw(t, "reason")}
		case 3:
			return Look{}
		case 4:
			return Status{Version, WireName(name().Draw(t, "self")), pid.Draw(t, "pid"), WireName(name().Draw(t, "peer")),
				rapid.IntRange(0, maxPID).Draw(t, "peer pid"), rapid.StringMatching(`[a-z-]{1,32}`).Draw(t, "phase"), rapid.Bool().Draw(t, "plain"),
				rapid.Bool().Draw(t, "guards hang"), rapid.Uint64().Draw(t, "gen"), rapid.Uint64().Draw(t, "revived"), millis(0).Draw(t, "held")}
		case 5:
			return Refused{reason.Draw(t, "reason")}
		}
		return Unknown{rapid.StringMatching(`[a-z%=]{0,100}`).Draw(t, "word")}
	})
}

// wantLine checks what Append promises of every line.
func wantLine(t interface{ Fatalf(string, ...any) }, line []byte) {
	if len(line) > MaxLine || len(line) == 0 || bytes.IndexByte(line, '\n') != len(line)-1 {
		t.Fatalf("%q (%d bytes) is not one whole line", line, len(line))
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := valid().Draw(t, "message")
		before := []byte("before")
		line := Append(before, m)[len(before):]
		wantLine(t, line)
		got, err := Parse(line[:len(line)-1])
		if err != nil || got != m {
			t.Fatalf("%q: got %#v, %v, want %#v", line, got, err, m)
		}
	})
}

// TestAppendWithinLimits gives Append values that no line can say: the line stays whole, and valid where a name and a pid are there.
func TestAppendWithinLimits(t *testing.T) {
	huge := strings.Repeat("主=\n", 2000)
	for _, m := range []Message{
		Hello{1, huge, huge, math.MaxInt, math.MaxUint64, math.MaxInt64, false},
		Hello{-1, "", "", -1, 0, -1, true},
		Beat{math.MaxUint64, false, math.MaxInt64, huge}, Beat{Age: -5, Reason: "\xff\xfe"},
		Bye{Stop, huge}, Bye{0, "x"}, Bye{99, huge}, Refused{huge}, Unknown{huge},
		Status{math.MaxInt, huge, math.MaxInt, huge, math.MaxInt, huge, false, false, math.MaxUint64, math.MaxUint64, math.MaxInt64},
		Status{},
	} {
		line := Append(nil, m)
		wantLine(t, line)
		_, err := Parse(line[:len(line)-1])
		if err != nil && m != (Hello{-1, "", "", -1, 0, -1, true}) && m != (Status{}) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestDurationsRoundToTheSafeSide(t *testing.T) {
	hello := Hello{Version: 1, Self: "a", Peer: "b", PID: 1, Heartbeat: 1500 * time.Microsecond}
	if got := reparse(t, hello).(Hello).Heartbeat; got != 2*time.Millisecond {
		t.Errorf("a heartbeat of 1.5 ms is announced as %v: the peer would expect beats sooner than they come", got)
	}
	hello.Heartbeat = 0
	if got := reparse(t, hello).(Hello).Heartbeat; got != time.Millisecond {
		t.Errorf("no heartbeat is announced as %v", got)
	}
	status := Status{Version: 1, Self: "a", Peer: "b", PID: 1, Phase: "held", Held: time.Nanosecond}
	if got := reparse(t, status).(Status).Held; got == 0 {
		t.Error("a hold with 1 ns left is announced as no hold")
	}
	if got := reparse(t, Beat{Age: 1999 * time.Microsecond}).(Beat).Age; got != time.Millisecond {
		t.Errorf("an age of 1.999 ms is announced as %v", got)
	}
}

func reparse(t *testing.T, m Message) Message {
	t.Helper()
	line := Append(nil, m)
	got, err := Parse(line[:len(line)-1])
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return got
}

func TestReasonIsCutBetweenCharacters(t *testing.T) {
	for pad := range 9 {
		reason := strings.Repeat("x", pad) + strings.Repeat("主", 200)
		got := reparse(t, Refused{Reason: reason}).(Refused).Reason
		if !utf8.ValidString(got) || !strings.HasPrefix(reason, got) || len(got) < 150 {
			t.Errorf("cut to %q", got)
		}
	}
}

func TestWireName(t *testing.T) {
	fits := strings.Repeat("x", MaxName)
	if got := WireName(fits); got != fits {
		t.Errorf("a name of %d bytes was shortened to %q", MaxName, got)
	}
	a, b := WireName(fits+"a"), WireName(fits+"b")
	if a == b || len(a) != 33 || a[0] != '~' || WireName(a) != a {
		t.Errorf("long names: %q, %q", a, b)
	}
	// Documented in protocol.md §3.3 and in the vector hello-short-name.
	if got := WireName("/run/" + strings.Repeat("很", 40)); got != "~5ac68694b6dd3a59eb8a503988f97140" {
		t.Errorf("got %q", got)
	}
}

func TestTooLongOnlyOnce(t *testing.T) {
	var s Scanner
	s.Feed([]byte("LOOK\n" + strings.Repeat("x", MaxLine) + "\nLOOK\n"))
	if m, ok, err := s.Next(); m != (Look{}) || !ok || err != nil {
		t.Fatalf("the line before the long one: %v %v %v", m, ok, err)
	}
	if _, ok, err := s.Next(); ok || !errors.Is(err, ErrTooLong) {
		t.Fatalf("the long line: %v %v", ok, err)
	}
	for range 2 {
		s.Feed([]byte("LOOK\n"))
		if m, ok, err := s.Next(); m != nil || ok || err != nil {
			t.Fatalf("after the long line: %v %v %v", m, ok, err)
		}
	}
	if cap(s.buf) != 0 {
		t.Errorf("%d bytes are kept of a link that is to be closed", cap(s.buf))
	}
}

func TestLongestLine(t *testing.T) {
	line := strings.Repeat("x", MaxLine-1)
	var s Scanner
	s.Feed([]byte(line))
	if _, ok, err := s.Next(); ok || err != nil {
		t.Fatalf("511 bytes may still become a line: %v %v", ok, err)
	}
	s.Feed([]byte("\n"))
	if m, ok, err := s.Next(); m != (Unknown{line}) || !ok || err != nil {
		t.Fatalf("a line of 512 bytes: %v %v %v", m, ok, err)
	}
}

func TestBadLineIsSkipped(t *testing.T) {
	var s Scanner
	s.Feed([]byte("BEAT x\nBEAT 1 health=ok\n"))
	if _, ok, err := s.Next(); ok || !errors.Is(err, ErrMalformed) {
		t.Fatalf("bad line: %v %v", ok, err)
	}
	if m, ok, err := s.Next(); m != (Beat{Seq: 1, Healthy: true}) || !ok || err != nil {
		t.Fatalf("line after it: %v %v %v", m, ok, err)
	}
}

func TestLooksLikeOurs(t *testing.T) {
	for _, c := range []struct {
		bytes         string
		ours, decided bool
	}{
		{"", false, false}, {"H", false, false}, {"HELLO", false, false}, {"HELLO ", true, true}, {"HELLO 1 self", true, true},
		{"LO", false, false}, {"LOOK", true, true}, {"LOOK\n", true, true},
		{"p", false, true}, {"pingping", false, true}, {"HELP", false, true}, {"HELLOW", false, true}, {"HELLO\n", false, true},
		{"LOL", false, true}, {"\x00", false, true}, {"BEAT 1 health=ok\n", false, true}, {"hello ", false, true},
	} {
		if ours, decided := LooksLikeOurs([]byte(c.bytes)); ours != c.ours || decided != c.decided {
			t.Errorf("%q: ours %v decided %v, want %v %v", c.bytes, ours, decided, c.ours, c.decided)
		}
	}
}

func BenchmarkAppendBeat(b *testing.B) {
	buf := make([]byte, 0, MaxLine)
	for b.Loop() {
		buf = Append(buf[:0], Beat{Seq: 17, Healthy: true})
	}
}

func BenchmarkParseBeat(b *testing.B) {
	line := []byte("BEAT 17 health=ok age_ms=0")
	for b.Loop() {
		if _, err := Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}
