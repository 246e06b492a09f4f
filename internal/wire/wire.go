// Package wire turns messages into bytes and bytes into messages. It is pure: no socket, no clock, no goroutine.
//
// Every byte that one side sends belongs to exactly one line, a line is never longer than [MaxLine] bytes, and bytes from
// outside, whatever they are, give a message or an error, never a panic and never more memory than a line needs.
// docs/protocol.md is the specification; comments here cite its sections.
//
// # Words
//
// A line is words separated by one space and ended by LF. The first word says what the line is ([Hello], [Beat], [Bye],
// [Look], [Status], [Refused]); any other first word is [Unknown] and is ignored by receivers, so that a newer version may
// say more. Most words are key=value; keys that are not known are ignored for the same reason.
//
// # Errors
//
// [ErrTooLong] and [ErrMalformed] are the peer's doing, never ours. Errors quote at most a few bytes of the peer's.
package wire

import (
	"errors"
	"time"
)

// Limits and the version spoken here (protocol.md §3 and §9).
const (
	// MaxLine is the length of the longest line in bytes, its LF included.
	MaxLine = 512
	// Version is the protocol version that HELLO and STATUS carry.
	Version = 1
	// MaxName is the length in bytes of the longest name as it stands in a line, percent-encoding included; [WireName] shortens
	// what is longer.
	MaxName = 128
	// MaxDuration is the longest time that a line can say; a longer one is sent as this one.
	MaxDuration = 1_000_000_000_000 * time.Millisecond

	maxPhase = 32        // bytes of STATUS's phase as encoded; keeps the longest STATUS below MaxLine
	maxPID   = 1<<31 - 1 // what fits an int on every platform; no system gives out larger ones
)

var (
	// ErrTooLong says that the peer sent MaxLine bytes without ending the line. The link is to be closed.
	ErrTooLong = errors.New("line longer than 512 bytes")
	// ErrMalformed is wrapped by every other error of this package: a known word with wrong or missing parts.
	ErrMalformed = errors.New("malformed line")
)
