package supervisor

import "github.com/pairguard/pairguard/internal/proc"

// phaseLeft is what the library calls it when the peer has announced its end.
const phaseLeft = "left"

// otherLeft reports whether the other supervisor has gone on purpose: the library does
// not start it again.
func (l *loop) otherLeft() bool { return l.member.Status().Phase == phaseLeft }

// recallOther starts the other supervisor again when it has left: a person who asks for
// something wants it guarded.
func (l *loop) recallOther(left bool) {
	if !left || l.ending || l.active.recalled {
		return
	}
	path, _, err := proc.Resolve(l.cfg.Command[0])
	if err != nil {
		l.tell("supervisor_failed", err.Error())
		return
	}
	l.active.recalled = true
	args := l.cfg.Command[1:]
	l.later(func() {
		h, err := proc.Start(proc.Spec{Path: path, Args: args, Dir: "/"})
		l.post(func() {
			if err != nil {
				l.active.recalled = false
				l.tell("supervisor_failed", "the other supervisor cannot be started: "+err.Error())
				return
			}
			h.OnDone(func() { l.post(func() { l.active.recalled = false }) })
		})
	})
}
