package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"
)

// Append appends m to dst as one whole line, LF included, and returns the extended slice. The line is never longer than
// MaxLine: names are shortened by [WireName], reasons are cut between two characters, numbers and durations are brought into
// the range that Parse accepts. A Hello or Status without a name or pid is the caller's mistake; the receiver refuses it.
func Append(dst []byte, m Message) []byte {
	start := len(dst)
	reason := ""
	switch m := m.(type) {
	case Hello:
		dst = appendHello(dst, m)
	case Beat:
		dst = strconv.AppendUint(append(dst, "BEAT "...), m.Seq, 10)
		dst = appendHealth(dst, m.Healthy)
		dst = appendMillis(dst, "age_ms", m.Age)
		reason = m.Reason
	case Bye:
		dst = append(append(dst, "BYE "...), m.Kind.String()...)
		reason = m.Reason
	case Look:
		dst = append(dst, "LOOK"...)
	case Status:
		dst = appendStatus(dst, m)
	case Refused:
		dst = append(dst, "REFUSED"...)
		reason = m.Reason
	case Unknown:
		dst = appendWord(dst, m.Word)
	}
	dst = appendReason(dst, reason, MaxLine-1-(len(dst)-start))
	return append(dst, '\n')
}

func appendHello(dst []byte, m Hello) []byte {
	dst = strconv.AppendInt(append(dst, "HELLO "...), clampInt(m.Version), 10)
	dst = appendName(dst, "self", m.Self)
	dst = appendName(dst, "peer", m.Peer)
	dst = appendUint(dst, "pid", uint64(clampInt(m.PID)))
	dst = appendUint(dst, "gen", m.Generation)
	// Rounded up: an interval of 0 would say that beats never come.
	dst = appendMillis(dst, "heartbeat_ms", max(roundUp(m.Heartbeat), time.Millisecond))
	return appendHealth(dst, m.Healthy)
}

func appendStatus(dst []byte, m Status) []byte {
	dst = strconv.AppendInt(append(dst, "STATUS "...), clampInt(m.Version), 10)
	dst = appendName(dst, "self", m.Self)
	dst = appendUint(dst, "pid", uint64(clampInt(m.PID)))
	dst = appendName(dst, "peer", m.Peer)
	if m.PeerPID > 0 {
		dst = appendUint(dst, "peer_pid", uint64(clampInt(m.PeerPID)))
	}
	dst = appendEncoded(appendKey(dst, "phase"), m.Phase, maxPhase)
	dst = strconv.AppendBool(appendKey(dst, "plain"), m.Plain)
	dst = strconv.AppendBool(appendKey(dst, "guards_hang"), m.GuardsHang)
	dst = appendUint(dst, "gen", m.Generation)
	dst = appendUint(dst, "revived", m.Revived)
	// Rounded up: 0 says "not held".
	return appendMillis(dst, "held_ms", roundUp(m.Held))
}

func appendKey(dst []byte, key string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, key...)
	return append(dst, '=')
}

func appendUint(dst []byte, key string, v uint64) []byte {
	return strconv.AppendUint(appendKey(dst, key), v, 10)
}

func appendMillis(dst []byte, key string, d time.Duration) []byte {
	return appendUint(dst, key, uint64(min(max(d, 0), MaxDuration)/time.Millisecond))
}

func appendHealth(dst []byte, healthy bool) []byte {
	if healthy {
		return append(dst, " health=ok"...)
	}
	return append(dst, " health=bad"...)
}

func appendName(dst []byte, key, name string) []byte {
	return appendEncoded(appendKey(dst, key), WireName(name), MaxName)
}

// appendReason adds reason= with as much of the reason as fits room bytes, and nothing when there is no reason.
func appendReason(dst []byte, reason string, room int) []byte {
	if reason == "" {
		return dst
	}
	return appendEncoded(appendKey(dst, "reason"), reason, room-len(" reason="))
}

// WireName returns the name as the wire carries it: the name itself, or, when its percent-encoding is longer than MaxName
// bytes (only addresses can be), '~' and the first 32 hexadecimal digits of its SHA-256 (protocol.md §3.3). Compare the names
// of a Hello with this, never with the name alone. No ordinary name begins with '~', so the two cannot be confused.
func WireName(name string) string {
	n := 0
	for i := range len(name) {
		n += encodedLen(name[i])
	}
	if n <= MaxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "~" + hex.EncodeToString(sum[:16])
}

// appendEncoded percent-encodes s (protocol.md §3.2) into at most room bytes, and ends before the first character that would not fit.
func appendEncoded(dst []byte, s string, room int) []byte {
	for len(s) > 0 {
		_, size := utf8.DecodeRuneInString(s)
		need := 0
		for i := range size {
			need += encodedLen(s[i])
		}
		if need > room {
			break
		}
		room -= need
		for i := range size {
			dst = appendByte(dst, s[i])
		}
		s = s[size:]
	}
	return dst
}

func appendByte(dst []byte, c byte) []byte {
	if encodedLen(c) == 1 {
		return append(dst, c)
	}
	return appendHex(dst, c)
}

func appendHex(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

// encodedLen is how many bytes c takes in a value.
func encodedLen(c byte) int {
	if c <= ' ' || c > '~' || c == '%' || c == '=' {
		return 3
	}
	return 1
}

// appendWord writes an unknown first word so that it stays one word: only what is not printable, and the space, is encoded.
func appendWord(dst []byte, word string) []byte {
	room := MaxLine - 1
	for i := range len(word) {
		c := word[i]
		printable := c > ' ' && c <= '~'
		if printable {
			room--
		} else {
			room -= 3
		}
		if room < 0 {
			break
		}
		if printable {
			dst = append(dst, c)
		} else {
			dst = appendHex(dst, c)
		}
	}
	return dst
}

func clampInt(v int) int64 { return min(max(int64(v), 0), maxPID) }

func roundUp(d time.Duration) time.Duration {
	if d <= 0 || d >= MaxDuration {
		return d
	}
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}
