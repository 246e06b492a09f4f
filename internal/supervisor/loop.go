package supervisor

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/lifecycle"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

const (
	// lastWords is how long the end waits for a slow disk.
	lastWords = 2 * time.Second
	// lockCheck is how often the lock of the active one is looked at.
	lockCheck = 2 * time.Second
)

// loop is one supervisor. Its fields belong to the goroutine of run, but for those
// that are set once and have their own locks.
type loop struct {
	cfg        Config
	dir        *pairdir.Dir
	shelf      *pairdir.Shelf
	me         proc.ID
	boot       string
	name, peer pairdir.Name // the lock of the active one; the other supervisor
	groupName  string       // of the cgroups of this folder's programs
	member     *pairguard.Member
	journal    *journal
	scribe     *scribe
	starts     *queue
	forker     *proc.Forker // nil: there is none to be had
	pump       *output.Pump

	pulse pulse

	inbox   *inbox
	ctx     context.Context // of everything that runs aside
	cancel  context.CancelFunc
	clients sync.WaitGroup // what answers requests

	custody *custody.Machine
	agenda  []func() // what has to be done next, in this order
	working bool
	tickets map[uint64]func(held bool)
	ticket  uint64
	begun   bool
	failure error

	standby *standby // what we hold for the active one; nil: nothing
	active  *active  // nil: we do not act
	unborn  *os.File // the births pipe of the one before us, where it was not waited for to the end; nil: settled

	programs map[string]*program   // while we act
	strays   map[string]stray      // by name
	environs map[string]*inherited // by their sums, those that programs have
	nextDue  time.Duration         // no program is due before; 0: none is
	busy     int                   // requests in work that may start something
	idleAt   time.Duration         // since when there is nothing to do; 0: there is
	ending   bool                  // no request is taken any more
	checkAt  time.Duration         // when the lock is looked at next
	diskSaid string                // the last trouble with the disk, told once
	since    time.Time
	timer    *time.Timer
}

func (l *loop) now() time.Duration { return pairdir.SinceBoot() }

func (l *loop) debug(what string, args ...any) {
	if l.cfg.Logger != nil {
		l.cfg.Logger.Debug(what, args...)
	}
}

// post hands work to the loop and never waits; false: it has ended.
func (l *loop) post(fn func()) bool {
	if l.ctx.Err() != nil {
		return false
	}
	l.inbox.put(fn)
	return true
}

// postUrgent is post for what goes before everything else: see inbox.
func (l *loop) postUrgent(fn func()) {
	if l.ctx.Err() == nil {
		l.inbox.putUrgent(fn)
	}
}

// later runs what may take its time.
func (l *loop) later(fn func()) { go fn() }

// afterwards runs fn in the loop when d is over.
func (l *loop) afterwards(d time.Duration, fn func()) {
	time.AfterFunc(d, func() { l.post(fn) })
}

// run is the loop: it waits for one thing at a time. ended brings the end of the
// pair's member.
func (l *loop) run(ended <-chan error) error {
	l.timer = time.NewTimer(time.Hour)
	defer l.timer.Stop()
	for {
		l.arm()
		select {
		case <-l.inbox.wake:
			for _, fn := range l.inbox.take() {
				fn()
			}
			l.standby.sendAck() // one for all that has come
		case <-l.timer.C:
			l.tick()
		case err := <-ended:
			l.finish()
			return errors.Join(err, l.failure)
		}
		if l.failure != nil {
			// The lock is another's: neither a goodbye nor anything else is ours to say.
			l.finish()
			return l.failure
		}
	}
}

func (l *loop) arm() {
	at, wanted := l.custody.Deadline()
	if l.nextDue > 0 && (!wanted || l.nextDue < at) {
		at, wanted = l.nextDue, true
	}
	if l.idleAt > 0 && (!wanted || l.idleAt < at) {
		at, wanted = l.idleAt, true
	}
	wait := time.Hour
	if wanted {
		wait = max(at-l.now(), 0)
	}
	l.timer.Reset(wait)
}

func (l *loop) tick() {
	now := l.now()
	if at, ok := l.custody.Deadline(); ok && at <= now {
		l.decide(custody.Tick{})
	}
	if l.nextDue > 0 && l.nextDue <= now {
		l.tickPrograms(now)
	}
	l.considerEnding()
}

func (l *loop) tickPrograms(now time.Duration) {
	l.nextDue = 0
	for _, p := range l.programs {
		if p.due > 0 && p.due <= now {
			p.step(lifecycle.Tick{})
		}
		l.wakeBy(p.due)
	}
}

// wakeBy sees to it that the loop wakes up at that time; 0: it need not.
func (l *loop) wakeBy(due time.Duration) {
	if due > 0 && (l.nextDue == 0 || due < l.nextDue) {
		l.nextDue = due
	}
}

func (l *loop) scheduleProgram(p *program) {
	at, ok := p.machine.Deadline()
	if !ok {
		at = 0
	}
	p.due = at
	l.wakeBy(at)
}

// finish writes and answers what has been promised. Everything else ends with the
// process, above all the custody link: the standby is to see our death and nothing
// before it. Programs run on.
func (l *loop) finish() {
	l.cancel()
	l.starts.drop() // what has not begun is an intent, which whoever takes over resolves
	l.starts.close()
	l.scribe.close()
	deadline := time.After(lastWords)
	for _, done := range []<-chan struct{}{l.scribe.done, l.starts.done, l.served()} {
		select {
		case <-done:
		case <-deadline:
			return
		}
	}
	l.journal.records.close()
	select {
	case <-l.journal.records.done:
	case <-deadline:
	}
}

// served is closed when no request is being answered any more.
func (l *loop) served() <-chan struct{} {
	done := make(chan struct{})
	go func() { l.clients.Wait(); close(done) }()
	return done
}

// hear takes the news of the pair.
func (l *loop) hear(e pairguard.Event) {
	switch e.Kind {
	case pairguard.Listening:
		l.post(l.begin)
	case pairguard.PeerDead, pairguard.PeerFenced, pairguard.PeerStarted:
		l.post(func() { l.decide(custody.Senior{}) })
	case pairguard.PeerUp, pairguard.PeerSuspect, pairguard.PeerLate, pairguard.PeerHung, pairguard.PeerSilent, pairguard.PeerLeft,
		pairguard.PeerFailed, pairguard.Held, pairguard.Unheld, pairguard.Stopped:
	}
}

// begin comes when our own name is ours.
func (l *loop) begin() {
	if l.begun {
		return
	}
	l.begun = true
	other, err := l.dir.Holder(l.peer)
	if err != nil || other.PID == 0 {
		l.decide(custody.Begin{Junior: err == nil && other.Held})
		return
	}
	h, err := proc.Open(other.PID)
	if err != nil { // it has ended since
		l.decide(custody.Begin{})
		return
	}
	// Of two that begin at the same time one is the elder, and they agree which.
	l.decide(custody.Begin{Junior: older(h.ID(), l.me)})
	h.OnDone(func() { l.post(func() { l.decide(custody.Senior{}) }) })
}

// older tells which of two processes was started first.
func older(a, b proc.ID) bool {
	return a.Start < b.Start || a.Start == b.Start && a.PID < b.PID
}

// next does fn now, or, from within something that is being done, when everything has
// been done that was on the agenda before. So what goes to the standby goes in the
// order in which it was decided, and before what follows from it is done.
func (l *loop) next(fn func()) {
	l.agenda = append(l.agenda, fn)
	if l.working {
		return
	}
	l.working = true
	for len(l.agenda) > 0 {
		fn, l.agenda = l.agenda[0], l.agenda[1:]
		fn()
		l.pulse.beat()
	}
	l.working, l.agenda = false, nil
}

// decide gives the custody machine an event and does what it says.
func (l *loop) decide(e custody.Event) {
	l.next(func() {
		for _, a := range l.custody.Step(l.now(), e) {
			l.obey(a)
		}
	})
}

func (l *loop) obey(action custody.Action) {
	switch a := action.(type) {
	case custody.Claim:
		l.claim()
	case custody.Dial:
		l.dial()
	case custody.AwaitBirths:
		l.awaitBirths()
	case custody.Ack:
		l.standby.ack(a.Seq)
	case custody.Act:
		l.act(a)
	case custody.Give:
		l.give(a.Seq, a.Item)
	case custody.EndSnapshot:
		l.active.link.send(parcel{Kind: endParcel, Seq: a.Seq}, nil)
	case custody.Release:
		if tell := l.tickets[a.Ticket]; tell != nil {
			delete(l.tickets, a.Ticket)
			tell(a.Held)
		}
	case custody.Fence:
		if l.active.other != nil {
			_ = l.active.other.Kill()
		}
	}
}

// submit says how it is with an item from now on; held, which may be nil, is called
// when whoever takes over knows.
func (l *loop) submit(item custody.Item, held func(bool)) {
	var ticket uint64
	if held != nil {
		l.ticket++
		ticket = l.ticket
		l.tickets[ticket] = held
	}
	l.decide(custody.Submit{Item: item, Ticket: ticket})
}

// claim tries to become the active one; it may wait for a dying holder.
func (l *loop) claim() {
	l.later(func() {
		claim, err := l.dir.Claim(l.name)
		posted := l.post(func() { l.claimed(claim, err) })
		if !posted && claim != nil {
			_ = claim.Release()
		}
	})
}

func (l *loop) claimed(claim *pairdir.Claim, err error) {
	var taken *pairdir.TakenError
	switch {
	case err == nil:
		l.active = &active{l: l, claim: claim}
		l.decide(custody.Claimed{})
	case errors.As(err, &taken) && taken.PID > 0 && !dying(taken.PID):
		l.decide(custody.Taken{})
	default:
		l.decide(custody.ClaimFailed{Reason: err.Error()})
	}
}

// dying: a process that cannot be looked at any more lets go of its locks in a moment.
func dying(pid int) bool {
	h, err := proc.Open(pid)
	if err != nil {
		return true
	}
	defer h.Close()
	select {
	case <-h.Done():
		return true
	default:
		return false
	}
}

// checkLock heals what somebody removed, and gives way when the lock is lost.
func (l *loop) checkLock() {
	if l.active == nil || l.now() < l.checkAt {
		return
	}
	l.checkAt = l.now() + lockCheck
	claim := l.active.claim
	l.later(func() {
		healed, err := claim.Check()
		l.post(func() { l.active.checked(healed, err) })
	})
}

// considerEnding ends the pair of supervisors when there is nothing for them to do.
func (l *loop) considerEnding() {
	if l.active == nil || !l.active.serving || l.ending {
		return
	}
	idle := l.busy == 0
	for _, p := range l.programs {
		if p.record().Live() || p.leaving {
			idle = false
			break
		}
	}
	switch {
	case !idle:
		l.idleAt = 0
	case l.idleAt == 0:
		l.idleAt = l.now() + l.patience()
	case l.now() >= l.idleAt:
		l.end("no program is left to guard")
	}
}

// patience is how long supervisors without a program stay: one that has just been
// started was started for a request that is on its way.
func (l *loop) patience() time.Duration {
	if len(l.programs) == 0 && !l.active.used {
		return 10 * time.Second
	}
	return time.Second
}

func (l *loop) end(reason string) {
	l.ending = true
	l.idleAt = 0
	l.member.Stop(reason)
}

// recordStored tells of a disk that does not take records, once.
func (l *loop) recordStored(err error) {
	said := ""
	if err != nil {
		said = err.Error()
	}
	l.post(func() {
		if said != "" && said != l.diskSaid {
			l.tell("program_record", said)
		}
		l.diskSaid = said
	})
}

// tell writes an event that is of no program.
func (l *loop) tell(event, reason string) {
	l.journal.write(pairdir.Record{Time: time.Now(), Event: event, Self: l.cfg.Self, PID: l.me.PID, Reason: reason})
}

// isGone: the process that it was about is dead.
func isGone(err error) bool { return errors.Is(err, proc.ErrGone) }

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL, "ABRT": syscall.SIGABRT,
	"QUIT": syscall.SIGQUIT,
}

// signalOf is the signal of that name; what the definition allows is known.
func signalOf(name string) syscall.Signal {
	if s, ok := signals[name]; ok {
		return s
	}
	return extraSignal(name)
}

// occupy and release keep the supervisors while a request is in work.
func (l *loop) occupy()  { l.busy++; l.idleAt = 0 }
func (l *loop) release() { l.busy--; l.considerEnding() }

var _ control.Handler = (*handler)(nil)
