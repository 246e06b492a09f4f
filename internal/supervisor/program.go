package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/lifecycle"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

// program is one program under guard: its machine, and what the kernel has of it.
// It belongs to the loop.
type program struct {
	l       *loop
	def     control.Definition
	request string // by which run defined it; empty: up did
	machine *lifecycle.Machine
	run     runRecord // as it was published last
	due     time.Duration

	handle  *proc.Handle // of the newest main process; nil: none
	tree    *proc.Tree   // of that; nil: none
	group   *proc.Cgroup // of the newest life, and of the next ones as long as it can be; nil: there is none to be had
	adopted bool
	// groupGone: the cgroup of the newest life was removed before we took over.
	groupGone bool

	environ      *inherited // nil: it inherits nothing
	outdated     *inherited // that of the definition that the standby has; nil: the same
	processGiven bool       // the standby was told of a main process

	stream    *output.Stream // nil: there is no output yet
	pipe, log *os.File       // what stream works with; it closes them
	logging   string         // why there is no log; empty: there is one

	killed  bool // the life that is over was ended by force
	leaving bool // it is forgotten as soon as nothing of it is left
	waiters []waiter
}

// waiter is somebody who wants to know when something has become of a program.
type waiter struct {
	over func(*program) bool
	tell func()
}

func policyOf(d *control.Definition) lifecycle.Policy {
	return lifecycle.Policy{
		Restart: lifecycle.Condition(d.Restart), Backoff: time.Duration(d.Backoff), BackoffMax: time.Duration(d.BackoffMax),
		Stable: time.Duration(d.Stable), Grace: time.Duration(d.Grace), StopSignal: d.StopSignal,
	}
}

func (p *program) record() lifecycle.Record { return p.machine.Record() }

// step gives the machine an event and does what it decides, in order, after the
// standby was told.
func (p *program) step(e lifecycle.Event) {
	p.l.next(func() {
		p.l.debug("event", "program", p.def.Name, "event", e)
		had, pid := p.record().HasTree(), pidOf(p)
		actions := p.machine.Step(p.l.now(), e)
		if had && !p.record().HasTree() {
			p.letGo()
		}
		p.publish(actions)
		p.l.next(func() {
			for _, a := range actions {
				p.l.debug("action", "program", p.def.Name, "action", a)
				p.do(a, pid)
			}
			p.after()
		})
	})
}

// after looks who has waited for this.
func (p *program) after() {
	p.l.scheduleProgram(p)
	if p.leaving && p.record().Phase == lifecycle.Idle {
		p.l.remove(p)
	}
	waiting := p.waiters
	p.waiters = nil
	for _, w := range waiting {
		if w.over(p) {
			w.tell()
		} else {
			p.waiters = append(p.waiters, w)
		}
	}
	p.l.considerEnding()
}

// publish stores what a successor has to know and gives it into custody, before
// the actions that follow from it are done.
func (p *program) publish(actions []lifecycle.Action) {
	next := p.run
	next.BootID, next.Record = p.l.boot, p.record()
	var intent uint64
	for _, a := range actions {
		if keep, ok := a.(lifecycle.KeepIntent); ok {
			intent = keep.Gen
			next.Token, next.Process, next.Known = p.newToken(intent), nil, nil
			p.killed = false
			next.Cgroup, next.CgroupUsage = p.newGroup(intent)
		}
	}
	if p.handle != nil && next.Record.Phase != lifecycle.Birth {
		id := p.handle.ID()
		next.Process = &id
	}
	if next.Record.Phase == lifecycle.Idle {
		next.Process, next.Known, next.Cgroup, next.CgroupUsage = nil, nil, "", 0
		p.dropGroup()
		defer p.takeBack() // how it ended is told first: its handle tells that, too
	}
	if next.equal(p.run) && intent == 0 {
		return
	}
	p.run = next
	if intent != 0 {
		// Whoever takes over has the pipe before the first byte can be in it.
		if err := p.openOutput(); err != nil {
			p.step(lifecycle.IntentFailed{Gen: intent, Reason: err.Error()})
			intent = 0
		}
	}
	p.store(intent)
}

// store hands the run record to the scribe and to the standby. An intent is kept when
// the standby has it and the disk too; a disk that hangs or is full does not keep a
// program down while there is a standby.
func (p *program) store(intent uint64) {
	item := custody.Item{Key: runItem + p.def.Name, Body: encode(p.run)}
	record := json.RawMessage(item.Body)
	if intent == 0 {
		p.l.scribe.storeLater(p.def.Name, runExt, record, p.l.recordStored)
		p.l.submit(item, nil)
		return
	}
	k := &keeping{p: p, gen: intent}
	p.l.scribe.store(p.def.Name, runExt, record, false, func(err error) { p.l.postUrgent(func() { k.onDisk(err) }) })
	p.l.submit(item, k.inCustody)
}

// takeBack tells the standby that there is no main process.
func (p *program) takeBack() {
	if p.processGiven && p.handle == nil {
		p.processGiven = false
		p.l.submit(custody.Item{Key: processItem + p.def.Name, Gone: true}, nil)
	}
}

// keeping is one intent on its way to those who may have to know of it.
type keeping struct {
	p                     *program
	gen                   uint64
	disk, custody, shared bool // shared: it is a standby that has it
	failure               error
	answered              bool
}

// diskPatience is how long an intent waits for the disk when the standby has it.
const diskPatience = 500 * time.Millisecond

func (k *keeping) onDisk(err error) {
	k.disk, k.failure = true, err
	if err != nil {
		k.p.l.recordStored(err)
	}
	k.decide()
}

func (k *keeping) inCustody(shared bool) {
	k.custody, k.shared = true, shared
	if shared && !k.disk {
		k.p.l.afterwards(diskPatience, func() { k.disk = true; k.decide() })
	}
	k.decide()
}

func (k *keeping) decide() {
	if k.answered || !k.custody || !k.disk {
		return
	}
	k.answered = true
	if k.failure != nil && !k.shared {
		k.p.step(lifecycle.IntentFailed{Gen: k.gen, Reason: k.failure.Error()})
		return
	}
	k.p.step(lifecycle.IntentKept{Gen: k.gen})
}

// do does an action; pid is that of the main process before what led to it, 0: there
// was none.
func (p *program) do(action lifecycle.Action, pid int) {
	switch a := action.(type) {
	case lifecycle.KeepIntent: // publish has done it
	case lifecycle.Fork:
		p.fork(a.Gen)
	case lifecycle.Resolve:
		p.l.resolve(p, a.Gen)
	case lifecycle.Signal:
		p.signal(a)
	case lifecycle.Kill:
		if p.handle != nil {
			p.killed = true
			p.survey()
			if err := p.handle.Kill(); err != nil {
				p.tell(string(lifecycle.NoteStopping), err.Error())
			}
		}
	case lifecycle.EndTree:
		p.endTree(a.Gen)
	case lifecycle.Note:
		if a.Kind != lifecycle.NoteExited { // that alone is of what is gone
			pid = pidOf(p)
		}
		p.write(string(a.Kind), a.Reason, a.Gen, pid)
	}
}

// tell writes an event of the present life.
func (p *program) tell(event, reason string) {
	p.write(event, reason, p.record().Generation, pidOf(p))
}

func (p *program) write(event, reason string, gen uint64, pid int) {
	p.l.journal.write(pairdir.Record{
		Time: time.Now(), Event: event, Self: p.l.cfg.Self, Program: p.def.Name, Generation: gen, PID: pid, Reason: reason,
	})
}

func (p *program) signal(a lifecycle.Signal) {
	if p.handle == nil {
		return
	}
	p.survey()
	if err := p.handle.Signal(signalOf(a.Name)); err != nil && !isGone(err) {
		p.tell(string(lifecycle.NoteStopping), "signal "+a.Name+": "+err.Error())
	}
	p.step(lifecycle.Signaled{Gen: a.Gen})
}

// survey notes who belongs to the tree while its root still lives, for whoever has to
// end the rest.
func (p *program) survey() {
	if p.tree == nil || p.tree.Survey() != nil {
		return
	}
	p.run.Known = p.tree.Known()
	p.store(0)
}

// endTree ends what the main process has left behind. One that we took over is no
// child of ours: somebody else has to bury it, and a program that finds the process of
// its pid file still there would refuse its next start.
func (p *program) endTree(gen uint64) {
	if p.treeGone() {
		p.step(lifecycle.TreeGone{Gen: gen})
		return
	}
	tree, l := p.tree, p.l
	l.later(func() {
		var err error
		if tree.Alive() {
			err = tree.Kill()
		}
		gone := awaitGone(l.ctx, tree)
		awaitBurial(l.ctx, tree)
		l.post(func() {
			if err != nil {
				p.tell(string(lifecycle.NoteStopping), "what it left behind: "+err.Error())
			}
			if gone && p.tree == tree {
				p.step(lifecycle.TreeGone{Gen: gen})
			}
		})
	})
}

// treeGone: nothing is left of it that would have to be ended, or waited for.
func (p *program) treeGone() bool {
	return p.tree == nil || !p.tree.Alive() && !(p.adopted && p.tree.Unburied())
}

// letGo gives back what belonged to the life that is over.
func (p *program) letGo() {
	if p.tree != nil {
		p.tree.Close()
		p.tree = nil
	}
	if p.handle != nil {
		p.handle.Close() // the standby gets the next one in its place, or is told in publish
		p.handle = nil
	}
	if p.group != nil && p.group.Spent() {
		p.dropGroup()
	}
}

// usageUnknown: how much was used in a cgroup before was not asked, or not answered.
const usageUnknown = time.Duration(-1)

// newGroup is the cgroup of the next life, that of the one before where it can be: its
// tree is gone, so the cgroup is empty. One in which everything was killed once cannot be
// used again: Linux 6.14 and later kill whatever is started into it. Without a cgroup its
// process group and its descendants are ended: docs/programs.md.
func (p *program) newGroup(gen uint64) (path string, before time.Duration) {
	if p.group != nil && p.group.Reusable() {
		if !p.countsUsage() {
			return p.group.Path(), usageUnknown
		}
		if before, err := p.group.Usage(); err == nil {
			return p.group.Path(), before
		}
	}
	p.dropGroup()
	p.groupGone = false
	group, err := proc.MakeCgroup(p.l.groupName, fmt.Sprintf("%s.%d", p.def.Name, gen))
	if err != nil {
		return "", 0
	}
	p.group = group
	if before = usageUnknown; p.countsUsage() {
		if used, err := group.Usage(); err == nil {
			before = used
		}
	}
	return group.Path(), before
}

// countsUsage: it matters whether a start ran that nobody knows the end of, since the
// program may not be started again. It is not cheap to ask for.
func (p *program) countsUsage() bool { return p.def.Restart != control.RestartAlways }

func (p *program) dropGroup() {
	if p.group != nil {
		_ = p.group.Remove()
		p.group = nil
	}
}

// guard takes the handle of a new main process.
func (p *program) guard(gen uint64, h *proc.Handle) {
	p.handle = h
	if tree, err := proc.OpenTree(h, p.group); err == nil {
		tree.Remember(p.run.Known)
		p.tree = tree
	} else {
		p.tell(string(lifecycle.NoteStarted), "what it starts cannot be followed: "+err.Error())
	}
	p.processGiven = true
	p.l.submit(custody.Item{Key: processItem + p.def.Name, Body: encode(processRecord{Generation: gen}), Files: 1}, nil)
	h.OnDone(func() { p.l.post(func() { p.ended(gen, h) }) })
}

func (p *program) ended(gen uint64, h *proc.Handle) {
	if p.handle != h {
		return
	}
	e := h.Exit()
	exit := lifecycle.Exit{Known: e.Known, Code: e.Code, Signal: e.Signal}
	p.step(lifecycle.Ended{Gen: gen, Exit: exit, TreeGone: p.treeGone()})
}

// wait calls tell as soon as over is true; now, if it is.
func (p *program) wait(over func(*program) bool, tell func()) {
	if over(p) {
		tell()
		return
	}
	p.waiters = append(p.waiters, waiter{over, tell})
}
