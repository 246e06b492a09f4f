package pairguard

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// liveness knows when the application last showed that it works. Once it is used,
// heartbeats carry how old that sign is, so that the peer hears of a deadlock as
// early as if the application sent the heartbeats itself. Safe for concurrent use.
type liveness struct {
	heartbeat time.Duration
	limit     time.Duration // a sign older than this is no sign
	check     func(context.Context) error

	mu    sync.Mutex
	parts map[string]*Part
	fault string // what the last check said, if it failed

	owed atomic.Bool // the last heartbeat carried an old sign: send the next sign at once
	wake func()      // tells the loop that the owed sign is there
	busy atomic.Bool // a check is running
}

// Part is one named part of a program that has to show signs of life of its own.
type Part struct {
	name  string
	every time.Duration
	life  *liveness
	last  atomic.Int64 // nanoseconds since epoch
}

// epoch anchors times that are kept as numbers on the monotonic clock.
var epoch = time.Now()

func newLiveness(s settings) *liveness {
	v := &liveness{heartbeat: s.Heartbeat, limit: s.Timeout, check: s.Healthy, parts: map[string]*Part{}, wake: func() {}}
	if v.check != nil {
		v.part("healthy", 0)
	}
	return v
}

// Beat is a sign of life of the part "main": call it from the loop that does the
// work, at least once every [Config.Heartbeat]. The first call makes heartbeats
// follow the application; from then on silence for [Config.Timeout] makes the peer
// replace this process. It costs a few nanoseconds and never blocks.
func (m *Member) Beat() { m.main().Beat() }

// Part makes the program show signs of life of one more part of it. every is how
// far apart they may be; 0 is [Config.Heartbeat], as for [Member.Beat]. A part with
// a longer one is judged so much later. The same name gives the same Part.
func (m *Member) Part(name string, every time.Duration) *Part { return m.liveness.part(name, every) }

// Beat is a sign of life of this part.
func (p *Part) Beat() {
	p.last.Store(int64(time.Since(epoch)))
	if p.life.owed.CompareAndSwap(true, false) {
		p.life.wake()
	}
}

// Done ends the part: it owes no more signs of life.
func (p *Part) Done() {
	p.life.mu.Lock()
	defer p.life.mu.Unlock()
	delete(p.life.parts, p.name)
}

func (v *liveness) part(name string, every time.Duration) *Part {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.parts[name]
	if p == nil {
		p = &Part{name: name, every: every, life: v}
		p.last.Store(int64(time.Since(epoch)))
		v.parts[name] = p
	}
	return p
}

// age is how old the sign of life of the slowest part is, and which part that is.
func (v *liveness) age(now time.Time) (age time.Duration, slowest string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, p := range v.parts {
		a := max(now.Sub(epoch)-time.Duration(p.last.Load())-p.every, 0)
		if a > age || slowest == "" {
			age, slowest = a, name
		}
	}
	return age, slowest
}

// healthy is what a HELLO says.
func (v *liveness) healthy(now time.Time) bool {
	age, _ := v.age(now)
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.fault == "" && age < v.limit
}

// beat is the next heartbeat but for its number.
func (v *liveness) beat(now time.Time) wire.Beat {
	age, slowest := v.age(now)
	// An old sign will look even older to the peer before the next heartbeat.
	v.owed.Store(slowest != "" && v.check == nil && age > v.heartbeat/4)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.fault != "":
		return wire.Beat{Reason: v.fault}
	case age >= v.limit:
		return wire.Beat{Age: age, Reason: fmt.Sprintf("part %q has shown no sign of life for %v", slowest, age.Round(time.Millisecond))}
	}
	return wire.Beat{Healthy: true, Age: age}
}

// runCheck calls the application's check and notes what it says; false when the
// earlier call has not returned yet.
func (v *liveness) runCheck(ctx context.Context) bool {
	if !v.busy.CompareAndSwap(false, true) {
		return false
	}
	defer v.busy.Store(false)
	ctx, cancel := context.WithTimeout(ctx, v.limit)
	defer cancel()
	fault := ""
	if err := v.check(ctx); err != nil {
		fault = err.Error()
	}
	v.mu.Lock()
	v.fault = fault
	v.mu.Unlock()
	if fault == "" {
		v.part("healthy", 0).Beat()
	}
	return true
}

// sendBeat sends the heartbeat that is due: at once, or after the application's
// check has returned.
func (l *loop) sendBeat(id protocol.Link) {
	if l.m.liveness.check == nil {
		l.putBeat(id)
		return
	}
	go func() { // not waited for at the end: the check may never return
		if l.m.liveness.runCheck(l.ctx) {
			l.m.post(beatDue{id})
		}
	}()
}

func (l *loop) putBeat(id protocol.Link) {
	k := l.links[id]
	if k == nil {
		return
	}
	k.seq++
	beat := l.m.liveness.beat(time.Now())
	beat.Seq = k.seq
	l.send(id, beat)
}

// payBeat: the application has shown the sign of life that the last heartbeat
// lacked. It goes out on the link that heartbeats go out on.
func (l *loop) payBeat() {
	for id, k := range l.links {
		if k.seq > 0 {
			l.putBeat(id)
		}
	}
}
