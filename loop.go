package pairguard

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// loop drives one machine. Every field is owned by the goroutine of run, but for
// the atomic ones and those that say otherwise.
type loop struct {
	m          *Member
	host       host
	machine    *protocol.Machine
	origin     time.Time
	timer      *time.Timer
	links      map[protocol.Link]*link
	linksMade  atomic.Uint64   // numbers them
	known      *processes      // has its own lock
	crowd      crowd           // has its own lock
	warned     atomic.Int64    // when of an impostor, in seconds after epoch; 0: never
	herald     *herald         // has its own goroutine
	checkAt    time.Time       // when the name lock and the socket are looked at next
	checking   bool            // that look is under way
	lastHealed string          // what the last look healed, so that it is told once
	dumped     <-chan struct{} // closed when the last dump is kept; nil: there was none
	ended      bool
	err        string
	surveying  bool     // a survey is under way
	asked      []uint64 // the next one, by these tokens

	ctx   context.Context // of everything that runs aside
	aside sync.WaitGroup
}

// run is the loop: it waits for one thing at a time, steps the machine and does
// what it says.
func (l *loop) run(ctx context.Context) {
	l.timer = time.NewTimer(time.Hour)
	defer l.timer.Stop()
	done := ctx.Done()
	for !l.ended {
		l.arm()
		select {
		case msg := <-l.m.inbox:
			msg.reach(l)
		case <-l.m.requests.wake:
			for _, event := range l.m.requests.take() {
				l.step(event)
			}
		case <-l.timer.C:
			l.step(protocol.Ticked{})
		case <-done:
			done = nil
			l.step(protocol.LeaveAsked{Reason: context.Cause(ctx).Error()})
		}
		l.lookAfterName()
	}
}

func (l *loop) now() time.Duration { return time.Since(l.origin) }

// arm sets the one timer to the machine's deadline or the next look at our name.
func (l *loop) arm() {
	wait := l.machine.Deadline() - l.now()
	if !l.checking {
		// It can wait for the next heartbeat: every wake-up costs.
		wait = min(wait, time.Until(l.checkAt)+nameCheck/2)
	}
	l.timer.Reset(max(wait, 0))
}

// step gives the machine an event and does what it decides, in order.
func (l *loop) step(event protocol.Event) {
	l.m.settings.debug("event", "event", event)
	for _, action := range l.machine.Step(l.now(), event) {
		l.m.settings.debug("action", "action", action)
		l.do(action)
	}
	l.known.watch(subject(event), l.m)
}

// subject is the process that an event speaks of: from now on its death matters.
func subject(event protocol.Event) []protocol.Process {
	switch e := event.(type) {
	case protocol.Dialed:
		return []protocol.Process{e.Process}
	case protocol.Greeted:
		return []protocol.Process{e.Process}
	case protocol.PlainHeard:
		return []protocol.Process{e.Process}
	case protocol.Started:
		return []protocol.Process{e.Process}
	case protocol.Begun:
		return []protocol.Process{e.Survey.Holder, e.Survey.Recorded}
	case protocol.Surveyed:
		return []protocol.Process{e.Survey.Holder, e.Survey.Recorded}
	}
	return nil
}

func (l *loop) do(action protocol.Action) {
	switch a := action.(type) {
	case protocol.Dial:
		l.dial(a.Probe)
	case protocol.Send:
		l.send(a.Link, a.Message)
	case protocol.SendBeat:
		l.sendBeat(a.Link)
	case protocol.CloseLink:
		l.closeLink(a.Link)
	case protocol.TakeSurvey:
		l.askSurvey(a.Token)
	case protocol.Spawn:
		dumped := l.dumped
		l.later(func() protocol.Event { return l.spawn(dumped) })
	case protocol.Kill:
		l.known.signal(a.Process, (*handle).Kill)
	case protocol.Examine:
		l.examine(a.Process)
	case protocol.Dump:
		l.dump(a.Process)
	case protocol.Terminate:
		l.known.signal(a.Process, (*handle).Terminate)
	case protocol.StoreGoodbye:
		l.later(func() protocol.Event {
			return protocol.GoodbyeStored{Kind: a.Kind, Err: inWords(l.host.storeGoodbye(a.Kind, a.Reason))}
		})
	case protocol.Emit:
		l.tell(eventOf(a.Notice))
	case protocol.End:
		l.ended, l.err = true, a.Err
	}
}

// askSurvey takes one survey at a time: whoever asks during one is answered by the
// next, which is taken after all of them have asked. A flood of LOOK costs no more.
func (l *loop) askSurvey(token uint64) {
	l.asked = append(l.asked, token)
	if !l.surveying {
		l.takeSurvey()
	}
}

func (l *loop) takeSurvey() {
	tokens := l.asked
	l.asked, l.surveying = nil, true
	l.aside.Go(func() { l.m.post(surveyed{tokens, l.host.survey(l.known)}) })
}

// tellRemarks tells a person what the host found.
func (l *loop) tellRemarks() {
	for _, what := range l.host.remarks() {
		l.tell(Event{Kind: Listening, Reason: what})
	}
}

// later runs work that may take its time; what it returns comes back as an event.
func (l *loop) later(work func() protocol.Event) {
	l.aside.Go(func() { l.m.post(news{work()}) })
}

func (l *loop) spawn(dumped <-chan struct{}) protocol.Event {
	if dumped != nil {
		<-dumped
	}
	h, notes, err := l.host.spawn()
	for _, n := range notes {
		l.m.post(note(n))
	}
	if err != nil {
		l.crowd.hangUp()
		return protocol.StartFailed{Reason: err.Error()}
	}
	return protocol.Started{Process: l.known.add(h)}
}

// lookAfterName heals what somebody removed: the lock file, the socket, the
// folder. It runs aside, since a disk may hang.
func (l *loop) lookAfterName() {
	if l.checking || l.ended || time.Now().Before(l.checkAt) {
		return
	}
	l.checking = true
	l.aside.Go(func() {
		healed, err := l.host.heal()
		l.m.post(nameState{healed, l.host.stopped(), err})
	})
}

func (l *loop) nameChecked(s nameState) {
	l.checking = false
	l.checkAt = time.Now().Add(nameCheck)
	for _, what := range s.healed {
		if what != l.lastHealed { // what cannot be healed is found again at every look
			l.tell(Event{Kind: Listening, Reason: what})
		}
		l.lastHealed = what
	}
	if len(s.healed) == 0 {
		l.lastHealed = ""
	}
	if s.stopped {
		l.step(protocol.LookAsked{})
	}
	if s.err != nil {
		// No goodbye: the name is not ours to speak for any more.
		l.ended, l.err = true, s.err.Error()
	}
}

// nameCheck is how often the lock file and the socket are looked at, or half as long
// again when nothing else happens meanwhile.
const nameCheck = 2 * time.Second

func (l *loop) status() Status {
	s := l.machine.Status()
	return Status{
		Self: l.m.settings.Self, PID: l.host.pid(), Peer: l.m.settings.Peer, PeerPID: s.Peer.PID,
		Phase: s.Phase.String(), Plain: s.Plain, GuardsHang: s.GuardsHang,
		Generation: l.host.generation(), Revived: s.Revived, Held: s.HeldFor,
	}
}

func (s Status) wire() wire.Status {
	return wire.Status{
		Version: wire.Version, Self: wire.WireName(s.Self), PID: s.PID, Peer: wire.WireName(s.Peer), PeerPID: s.PeerPID,
		Phase: s.Phase, Plain: s.Plain, GuardsHang: s.GuardsHang,
		Generation: s.Generation, Revived: s.Revived, Held: s.Held,
	}
}

func eventOf(n protocol.Notice) Event {
	return Event{Kind: EventKind(n.Kind), PeerPID: n.PID, Generation: n.Generation, Reason: n.Reason, After: n.After}
}

func inWords(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
