package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Condition says after which ends a program is started again without being asked.
type Condition string

// The restart conditions, with systemd's names and truth table.
const (
	Always    Condition = "always"
	OnFailure Condition = "on-failure"
	Never     Condition = "no"
)

// later are conditions of the truth table that are not there yet.
var later = []string{"on-success", "on-abnormal", "on-abort", "on-watchdog"}

// ParseCondition reads a restart condition as files and flags spell it.
func ParseCondition(s string) (Condition, error) {
	switch c := Condition(s); c {
	case Always, OnFailure, Never:
		return c, nil
	}
	if slices.Contains(later, s) {
		return "", fmt.Errorf("restart condition %q is not supported yet: use always, on-failure or no", s)
	}
	return "", fmt.Errorf("there is no restart condition %q: use always, on-failure or no", s)
}

// Policy is how one program is to be treated. Negative durations count as 0.
type Policy struct {
	Restart    Condition     // empty: Always
	Backoff    time.Duration // as restart.Policy has it
	BackoffMax time.Duration
	Stable     time.Duration
	Grace      time.Duration // from the stop signal to SIGKILL
	StopSignal string        // without SIG; empty: TERM
}

// Defaults is the policy of a program of which nothing is said.
func Defaults() Policy {
	return Policy{
		Restart: Always, Backoff: time.Second, BackoffMax: time.Minute, Stable: time.Minute,
		Grace: 5 * time.Second, StopSignal: "TERM",
	}
}

func (p Policy) stopSignal() string {
	if p.StopSignal == "" {
		return "TERM"
	}
	return p.StopSignal
}

// restarts tells whether a program that ended so is started again.
func (p Policy) restarts(e Exit) bool {
	switch p.Restart {
	case Never:
		return false
	case OnFailure:
		return !e.Clean()
	}
	return true
}

// Exit is how a life ended.
type Exit struct {
	Known  bool   `json:"known"`
	Code   int    `json:"code"`   // valid when Known and Signal is empty
	Signal string `json:"signal"` // without SIG; empty: it ended by itself
}

// politeSignals end a process cleanly, as systemd.service(5) has it.
var politeSignals = []string{"HUP", "INT", "TERM", "PIPE"}

// Clean tells whether that was a success: exit code 0, or a signal by which processes are asked to end. What is not known counts
// as a failure.
func (e Exit) Clean() bool {
	if e.Signal != "" {
		return e.Known && slices.Contains(politeSignals, strings.TrimPrefix(e.Signal, "SIG"))
	}
	return e.Known && e.Code == 0
}

// String is the exit in words.
func (e Exit) String() string {
	switch {
	case !e.Known:
		return "how it ended is not known"
	case e.Signal != "":
		return "ended by signal " + e.Signal
	}
	return fmt.Sprintf("ended with exit code %d", e.Code)
}
