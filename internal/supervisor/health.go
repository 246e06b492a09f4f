package supervisor

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// progressLook is how often it is looked whether a loop that does not answer gets on.
	progressLook = 100 * time.Millisecond
	// busyPatience is how long a loop may work through lists without answering.
	busyPatience = time.Minute
	// muchDone since the last Rest, and littleDone since the last heartbeat, make it time
	// for the next Rest.
	muchDone, littleDone = 2000, 20
)

// pulse is by what others see that the loop gets on.
type pulse struct {
	beats    atomic.Uint64 // what the loop has done, in steps of its lists
	answered atomic.Int64  // when it answered last, in nanoseconds since the boot

	// Of the loop alone.
	seen     uint64 // beats at the last answer
	unrested uint64 // beats since the last Rest
}

// beat says that one more step is done.
func (p *pulse) beat() { p.beats.Add(1) }

// healthy answers when the loop does, or when it works through a list: a thousand
// programs are defined or taken over at once, each with files to be made. It is asked
// once a heartbeat, so that what has to be looked at now and then is looked at here,
// without a timer of its own.
func (l *loop) healthy(ctx context.Context) error {
	answered := make(chan struct{})
	before := l.pulse.beats.Load()
	l.postUrgent(func() {
		l.checkLock()
		l.considerRest()
		l.pulse.answered.Store(int64(l.now()))
		close(answered)
	})
	look := time.NewTicker(progressLook)
	defer look.Stop()
	for {
		select {
		case <-answered:
			return nil
		case <-l.ctx.Done():
			return nil
		case <-look.C:
			if l.pulse.beats.Load() != before && l.now()-time.Duration(l.pulse.answered.Load()) < busyPatience {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// considerRest calls Config.Rest at the end of a burst.
func (l *loop) considerRest() {
	p := &l.pulse
	beats := p.beats.Load()
	fresh := beats - p.seen
	p.seen = beats
	p.unrested += fresh
	if p.unrested > muchDone && fresh < littleDone && l.cfg.Rest != nil {
		p.unrested = 0
		l.later(l.cfg.Rest)
	}
}
