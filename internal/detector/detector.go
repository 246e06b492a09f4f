// Package detector decides whether the peer is healthy, suspect or hung, and
// whether we are the slow one ourselves. It is pure: time comes in as an
// argument, on a clock that never jumps and stands still while the machine is
// suspended.
//
// The rule: silence for the timeout makes a suspect; a suspect that stays silent
// for the confirmation, though it had the chance to speak, is hung. Both windows
// grow by as much as we ourselves were late, because a guard that could not listen
// has not heard silence. Whether the suspect had the chance is what an [Inquiry]
// finds out; docs/judging.md has the whole table.
package detector

import "time"

// Verdict is what the silence of the peer means now.
type Verdict uint8

// The verdicts, from good to bad.
const (
	Healthy Verdict = iota // spoke recently enough
	Suspect                // silent too long, not yet judged
	Hung                   // judged
)

func (v Verdict) String() string {
	return [...]string{"healthy", "suspect", "hung"}[v]
}

// Detector follows the signs of life of one process. The zero value is not ready:
// use New, then Restart.
type Detector struct {
	timeout, confirm time.Duration
	last             time.Duration // newest sign of life
	credit           time.Duration // how long we were late since then
}

// New returns a detector that suspects after timeout and judges after a further
// confirm of silence.
func New(timeout, confirm time.Duration) Detector {
	return Detector{timeout: timeout, confirm: confirm}
}

// SetTimeout changes the silence that makes a suspect.
func (d *Detector) SetTimeout(timeout time.Duration) { d.timeout = timeout }

// Restart opens a full window at now, as for a process that has just appeared or
// may be judged again.
func (d *Detector) Restart(now time.Duration) { d.last, d.credit = now, 0 }

// Sign takes a sign of life that was given at the time at. An older one than the
// newest known changes nothing.
func (d *Detector) Sign(at time.Duration) {
	if at > d.last {
		d.last, d.credit = at, 0
	}
}

// Late widens the window by the time for which we could not listen.
func (d *Detector) Late(by time.Duration) { d.credit += by }

// Expire makes it a suspect at now, as one that owes something else than a sign of
// life.
func (d *Detector) Expire(now time.Duration) { d.last, d.credit = now-d.timeout, 0 }

// Silence is how long ago the newest sign of life was given.
func (d *Detector) Silence(now time.Duration) time.Duration { return now - d.last }

// OwnLateness is for how long of the silence we could not listen.
func (d *Detector) OwnLateness() time.Duration { return d.credit }

// Heard is how much of the silence we have heard: without our own lateness.
func (d *Detector) Heard(now time.Duration) time.Duration { return now - d.last - d.credit }

// SuspectAt is when silence makes a suspect.
func (d *Detector) SuspectAt() time.Duration { return d.last + d.timeout + d.credit }

// HungAt is when a suspect that stays silent is judged.
func (d *Detector) HungAt() time.Duration { return d.SuspectAt() + d.confirm }

// Judge says what the silence up to now means, for one that had the chance to
// speak.
func (d *Detector) Judge(now time.Duration) Verdict {
	switch {
	case now < d.SuspectAt():
		return Healthy
	case now < d.HungAt():
		return Suspect
	}
	return Hung
}
