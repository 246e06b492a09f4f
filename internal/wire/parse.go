package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Parse reads one line without its LF; a CR at its end is tolerated. It returns an error that wraps ErrMalformed when the first
// word is known and what follows is not what the word needs, or ErrTooLong, and Unknown with no error for any other first
// word. A Hello or Status of another version is returned with as much as could be read (protocol.md §9): the caller
// decides. The message does not refer to line.
func Parse(line []byte) (Message, error) {
	if len(line) >= MaxLine {
		return nil, ErrTooLong
	}
	s := strings.TrimSuffix(string(line), "\r")
	word, rest, _ := strings.Cut(s, " ")
	parse, known := parsers[word]
	if !known {
		return Unknown{Word: string(appendWord(nil, word))}, nil
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		return nil, malformed(word, "byte %d is not printable ASCII; encode it as %%XX", i+1)
	}
	return parse(rest)
}

var parsers = map[string]func(rest string) (Message, error){
	"HELLO": parseHello, "BEAT": parseBeat, "BYE": parseBye, "LOOK": parseLook, "STATUS": parseStatus, "REFUSED": parseRefused,
}

func parseHello(rest string) (Message, error) {
	f := fields{word: "HELLO"}
	m := Hello{Version: f.version(&rest)}
	f.split(rest)
	m.Self = f.name("self")
	m.Peer = f.name("peer")
	m.PID = f.pid("pid")
	m.Generation = f.number("gen")
	m.Heartbeat = f.millis("heartbeat_ms")
	if m.Heartbeat == 0 {
		f.fail("heartbeat_ms=0 is no interval")
	}
	m.Healthy = f.health()
	return f.result(m)
}

func parseBeat(rest string) (Message, error) {
	f := fields{word: "BEAT"}
	seq, rest, _ := strings.Cut(rest, " ")
	m := Beat{Seq: f.parseNumber("sequence number ", seq)}
	f.split(rest)
	m.Healthy = f.health()
	if f.has("age_ms") {
		m.Age = f.millis("age_ms")
	}
	m.Reason = f.optional("reason")
	return f.result(m)
}

func parseBye(rest string) (Message, error) {
	f := fields{word: "BYE"}
	kind, rest, _ := strings.Cut(rest, " ")
	m := Bye{}
	switch kind {
	case "leave":
		m.Kind = Leave
	case "stop":
		m.Kind = Stop
	case "":
		f.fail("no kind: leave or stop")
	default:
		return Unknown{Word: "BYE"}, nil
	}
	f.split(rest)
	m.Reason = f.optional("reason")
	return f.result(m)
}

func parseLook(rest string) (Message, error) {
	f := fields{word: "LOOK"}
	f.split(rest)
	return f.result(Look{})
}

func parseStatus(rest string) (Message, error) {
	f := fields{word: "STATUS"}
	m := Status{Version: f.version(&rest)}
	f.split(rest)
	m.Self = f.name("self")
	m.PID = f.pid("pid")
	m.Peer = f.name("peer")
	if f.has("peer_pid") {
		m.PeerPID = f.pid("peer_pid")
	}
	m.Phase = f.required("phase")
	m.Plain = f.boolean("plain")
	m.GuardsHang = f.boolean("guards_hang")
	m.Generation = f.number("gen")
	m.Revived = f.number("revived")
	m.Held = f.millis("held_ms")
	return f.result(m)
}

func parseRefused(rest string) (Message, error) {
	f := fields{word: "REFUSED"}
	f.split(rest)
	return f.result(Refused{Reason: f.optional("reason")})
}

// fields are the key=value words of one line and the first thing found wrong with it. What no getter asks for is unknown here
// and never looked at.
type fields struct {
	word    string
	values  map[string]string // as they stand in the line
	twice   map[string]bool
	err     error
	foreign bool // of another version: nothing that is missing or strange is an error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = malformed(f.word, format, args...)
	}
}

func (f *fields) result(m Message) (Message, error) {
	if f.err != nil && !f.foreign {
		return nil, f.err
	}
	return m, nil
}

// version takes the version off the front of rest. A version that cannot be read is an error in any case.
func (f *fields) version(rest *string) int {
	var word string
	word, *rest, _ = strings.Cut(*rest, " ")
	v := f.parseNumber("version ", word)
	if v == 0 || v > maxPID {
		f.fail("version %s is out of range", quote(word))
	}
	f.foreign = f.err == nil && v != Version
	return int(v & maxPID)
}

// split finds the key=value words. A word without '=' is ignored like an unknown key; an empty word (two spaces) is an error.
func (f *fields) split(rest string) {
	f.values, f.twice = map[string]string{}, map[string]bool{}
	for rest != "" {
		var word string
		var more bool
		word, rest, more = strings.Cut(rest, " ")
		if word == "" || (more && rest == "") {
			f.fail("words are separated by one space")
		}
		key, value, pair := strings.Cut(word, "=")
		if !pair {
			continue
		}
		if f.has(key) {
			f.twice[key] = true
		}
		f.values[key] = value
	}
}

func (f *fields) has(key string) bool {
	_, there := f.values[key]
	return there
}

// optional is the decoded value of key, "" when the line does not have it.
func (f *fields) optional(key string) string {
	if f.twice[key] {
		f.fail("%s= is said twice", key)
	}
	return f.decode(key, f.values[key])
}

func (f *fields) required(key string) string {
	if !f.has(key) {
		f.fail("%s= is missing", key)
	}
	return f.optional(key)
}

func (f *fields) decode(key, value string) string {
	if !strings.ContainsAny(value, "%=") {
		return value
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case '=':
			f.fail("%s= has a second '=' in %s; encode it as %%3D", key, quote(value))
			return ""
		case '%':
			hex := value[i+1 : min(i+3, len(value))]
			v, err := strconv.ParseUint(hex, 16, 8)
			if err != nil || len(hex) < 2 {
				f.fail("%s= has %s where %%XX is needed", key, quote("%"+hex))
				return ""
			}
			b.WriteByte(byte(v))
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (f *fields) name(key string) string {
	v := f.required(key)
	if v == "" {
		f.fail("%s= is empty", key)
	}
	return v
}

func (f *fields) parseNumber(what, word string) uint64 {
	v, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		f.fail("%s%s is not a number from 0 to 2^64-1", what, quote(word))
		return 0
	}
	return v
}

func (f *fields) number(key string) uint64 { return f.parseNumber(key+"=", f.required(key)) }

func (f *fields) pid(key string) int {
	v := f.number(key)
	if v == 0 || v > maxPID {
		f.fail("%s=%d is not a process id", key, v)
		return 0
	}
	return int(v)
}

func (f *fields) millis(key string) time.Duration {
	v := f.number(key)
	if v > uint64(MaxDuration/time.Millisecond) {
		f.fail("%s=%d is longer than %d", key, v, MaxDuration/time.Millisecond)
		return 0
	}
	return time.Duration(v) * time.Millisecond
}

func (f *fields) boolean(key string) bool {
	switch v := f.required(key); v {
	case "true":
		return true
	case "false":
	default:
		f.fail("%s=%s is neither true nor false", key, quote(v))
	}
	return false
}

func (f *fields) health() bool {
	switch v := f.required("health"); v {
	case "ok":
		return true
	case "bad":
	default:
		f.fail("health=%s is neither ok nor bad", quote(v))
	}
	return false
}

func malformed(word, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrMalformed, word, fmt.Sprintf(format, args...))
}

// quote shows what the peer said, but never much of it.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
