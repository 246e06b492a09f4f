package wire

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// FuzzParse: no line makes Parse panic, and what it accepts survives being written and read again.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(bytes.TrimSuffix(seed, []byte("\n")))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		kept := bytes.Clone(line)
		m, err := Parse(line)
		if !bytes.Equal(line, kept) {
			t.Fatalf("Parse changed its argument")
		}
		if err != nil {
			if m != nil || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLong) || len(err.Error()) > 300 {
				t.Fatalf("got %#v with error %v", m, err)
			}
			return
		}
		again := Append(nil, m)
		wantLine(t, again)
		if foreign(m) {
			return
		}
		m2, err := Parse(again[:len(again)-1])
		if err != nil || !same(m, m2) {
			t.Fatalf("%q: %#v, written %q, read again %#v, %v", line, m, again, m2, err)
		}
	})
}

// same: equal, or one that had to be shortened to fit a line.
func same(a, b Message) bool {
	switch a := a.(type) {
	case Hello:
		a.Self, a.Peer = WireName(a.Self), WireName(a.Peer)
		return a == b
	case Status:
		c, ok := b.(Status)
		a.Self, a.Peer = WireName(a.Self), WireName(a.Peer)
		a.Phase = c.Phase
		return ok && a == c
	case Beat:
		c, ok := b.(Beat)
		return ok && a.Seq == c.Seq && a.Healthy == c.Healthy && a.Age == c.Age && reasonOf(a.Reason, c.Reason)
	case Bye:
		c, ok := b.(Bye)
		return ok && a.Kind == c.Kind && reasonOf(a.Reason, c.Reason)
	case Refused:
		c, ok := b.(Refused)
		return ok && reasonOf(a.Reason, c.Reason)
	case Unknown:
		c, ok := b.(Unknown)
		return ok && a == c
	}
	return a == b
}

// reasonOf: a reason needs "reason=" and up to three bytes for one, so only a long one may have been cut.
func reasonOf(whole, got string) bool {
	return whole == got || len(whole) > 120 && len(got) >= 120 && whole[:len(got)] == got
}

// foreign: of another version, or a goodbye of a kind that only a newer one knows; neither can be written here.
func foreign(m Message) bool {
	switch m := m.(type) {
	case Unknown:
		return m.Word == "BYE"
	case Hello:
		return m.Version != Version
	case Status:
		return m.Version != Version
	}
	return false
}

type outcome struct {
	m   Message
	err string
}

// scan feeds the stream in the given pieces and collects everything that comes out.
func scan(t interface{ Fatalf(string, ...any) }, chunks ...[]byte) (out []outcome) {
	var s Scanner
	for _, c := range chunks {
		s.Feed(c)
		for {
			m, ok, err := s.Next()
			if err != nil {
				out = append(out, outcome{m, err.Error()})
				continue
			}
			if !ok {
				break
			}
			out = append(out, outcome{m, ""})
		}
		if kept := len(s.buf) - s.next; kept >= MaxLine {
			t.Fatalf("%d bytes are kept, more than a line", kept)
		}
	}
	return out
}

// FuzzScanner: however a stream is cut, the same messages and errors come out in the same order.
func FuzzScanner(f *testing.F) {
	f.Add(bytes.Join(seeds(f), nil), uint16(7), uint16(300))
	f.Add([]byte("pingpi\nng\nLOOK\n"), uint16(0), uint16(1))
	f.Add(bytes.Repeat([]byte("x"), 1025), uint16(511), uint16(1))
	f.Fuzz(func(t *testing.T, stream []byte, first, step uint16) {
		whole := scan(t, stream)
		at := min(int(first), len(stream))
		chunks := [][]byte{stream[:at]}
		for rest := stream[at:]; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		wantSame(t, whole, scan(t, chunks...))
	})
}

// TestScannerOnAnyChunking does the same with valid messages, where what must come out is known.
func TestScannerOnAnyChunking(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(valid(), 0, 8).Draw(t, "messages")
		var stream []byte
		var want []outcome
		for _, m := range messages {
			stream = Append(stream, m)
			want = append(want, outcome{m, ""})
		}
		var chunks [][]byte
		for len(stream) > 0 {
			n := rapid.IntRange(1, len(stream)).Draw(t, "chunk")
			chunks, stream = append(chunks, stream[:n]), stream[n:]
		}
		wantSame(t, want, scan(t, chunks...))
	})
}

func wantSame(t interface{ Fatalf(string, ...any) }, want, got []outcome) {
	if len(got) != len(want) {
		t.Fatalf("%d outcomes, want %d:\n got %v\nwant %v", len(got), len(want), got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("outcome %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

// FuzzLooksLikeOurs: a decision never changes when more bytes come.
func FuzzLooksLikeOurs(f *testing.F) {
	f.Add([]byte("HELLO 1"), 3)
	f.Add([]byte("pingping"), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n < 0 || n > len(b) {
			return
		}
		early, decided := LooksLikeOurs(b[:n])
		late, _ := LooksLikeOurs(b)
		if decided && early != late {
			t.Fatalf("%q is %v, %q is %v", b[:n], early, b, late)
		}
	})
}
