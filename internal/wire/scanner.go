package wire

import "bytes"

// A Scanner splits a stream of bytes into messages; how the stream is cut into chunks makes no difference. The zero value is
// ready. It is not safe for concurrent use.
type Scanner struct {
	buf  []byte // unread bytes, from next on
	next int
	dead bool // a line was too long: where the next one begins cannot be trusted
}

// Feed adds bytes from the stream; it keeps a copy. Call Next until it has nothing more before feeding again: what is kept is
// then less than one line.
func (s *Scanner) Feed(chunk []byte) {
	if s.dead {
		return
	}
	if s.next > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.next:])]
		s.next = 0
	}
	s.buf = append(s.buf, chunk...)
}

// Next returns the next message and true. It returns false when no whole line is left, or, with an error, when the next line
// was bad: after one that wraps ErrMalformed the line is skipped and Next may be called again; ErrTooLong is returned once,
// everything after it is thrown away, and the link is to be closed.
func (s *Scanner) Next() (Message, bool, error) {
	rest := s.buf[s.next:]
	end := bytes.IndexByte(rest[:min(len(rest), MaxLine)], '\n')
	if end < 0 {
		if len(rest) < MaxLine {
			return nil, false, nil
		}
		*s = Scanner{dead: true}
		return nil, false, ErrTooLong
	}
	s.next += end + 1
	m, err := Parse(rest[:end])
	return m, err == nil, err
}

// LooksLikeOurs says what an inbound connection is from its first bytes: one of ours begins with "HELLO " or "LOOK", anything
// else is a plain peer (protocol.md §7). While decided is false more bytes are needed.
func LooksLikeOurs(prefix []byte) (ours, decided bool) {
	for _, word := range []string{"HELLO ", "LOOK"} {
		n := min(len(prefix), len(word))
		if string(prefix[:n]) == word[:n] {
			return n == len(word), n == len(word)
		}
	}
	return false, true
}
