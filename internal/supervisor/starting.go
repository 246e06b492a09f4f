package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/lifecycle"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

// tokenVariable marks a program and everything that inherits its environment, so that
// it can be found when its supervisor died before it was known.
const tokenVariable = "PAIRGUARD_PROGRAM"

// fork starts the program aside, one at a time: the kernel does no two forks of one
// process at once either.
func (p *program) fork(gen uint64) {
	def, token, group := p.def, p.run.Token, p.group
	files, err := duplicate(p.pipe)
	if err != nil {
		p.step(lifecycle.StartFailed{Gen: gen, Reason: err.Error()})
		return
	}
	begin := p.l.starter()
	p.l.starts.do(func() {
		defer closeAll(files)
		h, err := start(begin, &def, token, group, files[0])
		p.l.post(func() { p.started(gen, h, err) })
	})
}

func (p *program) started(gen uint64, h *proc.Handle, err error) {
	if err != nil {
		p.step(lifecycle.StartFailed{Gen: gen, Reason: err.Error()})
		return
	}
	p.adopted = false
	p.guard(gen, h)
	p.step(lifecycle.Started{Gen: gen})
}

// starter starts processes.
type starter func(proc.Spec) (*proc.Handle, error)

func (l *loop) starter() starter {
	if l.forker == nil {
		return proc.Start
	}
	return l.forker.Start
}

// start executes the program. Nothing runs when it fails.
func start(begin starter, def *control.Definition, token string, group *proc.Cgroup, pipe *os.File) (*proc.Handle, error) {
	out, err := openWriter(pipe)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	spec := proc.Spec{Path: def.Command[0], Args: def.Command[1:], Dir: def.Dir, Env: environment(def, token), Output: out}
	if group != nil {
		if spec.Cgroup, err = group.Open(); err == nil {
			defer spec.Cgroup.Close()
		}
	}
	h, err := begin(spec)
	if errors.Is(err, proc.ErrCgroup) {
		spec.Cgroup = nil
		h, err = begin(spec)
	}
	return h, err
}

// environment is that of the definition, with the mark of this life and without what
// is meant for members of pairs.
func environment(def *control.Definition, token string) []string {
	env := make([]string, 0, len(def.Inherit)+len(def.Env)+1)
	for _, entry := range def.Environ() {
		if !strings.HasPrefix(entry, tokenVariable+"=") && !strings.HasPrefix(entry, "PAIRGUARD_REVIVAL=") {
			env = append(env, entry)
		}
	}
	return append(env, tokenVariable+"="+token)
}

// openOutput makes the pipe that the program prints into and begins to move what
// comes out of it into the log. pipe and log may be there already, from custody.
func (p *program) openOutput() error {
	if p.stream != nil {
		return nil
	}
	path := p.l.shelf.Path(p.def.Name, pipeExt)
	if p.pipe == nil {
		if err := p.l.roomForOneMore(); err != nil {
			return err
		}
		if err := output.MakePipe(path); err != nil {
			return err
		}
		pipe, err := output.OpenReader(path)
		if err != nil {
			return err
		}
		p.pipe = pipe
	}
	spec := p.l.logSpec(&p.def)
	if p.log == nil {
		log, err := output.OpenLog(spec)
		if err != nil {
			return err
		}
		p.log = log
	}
	stream, err := p.l.pump.Add(p.pipe, p.log, spec, output.Hooks{Handover: p.handOver, Note: p.noteOutput})
	if err != nil {
		p.pipe, p.log = nil, nil
		return fmt.Errorf("output of %s: %w", p.def.Name, err)
	}
	p.stream = stream
	p.giveOutput(nil)
	return nil
}

const (
	// perProgram is how many descriptors a program costs each supervisor: its handle, its
	// pipe, its log.
	perProgram = 3
	// ownDescriptors are set aside for what the supervisors themselves need, so that they
	// can revive each other, hand everything over (up to custody.Window items are on their
	// way at once) and answer however many programs there are.
	ownDescriptors = 200
)

// roomForOneMore says why no further program can be held.
func (l *loop) roomForOneMore() error {
	limit := descriptorLimit()
	held := 0
	for _, p := range l.programs {
		if p.stream != nil {
			held++
		}
	}
	if limit == 0 || ownDescriptors+(held+1)*perProgram <= limit {
		return nil
	}
	return fmt.Errorf("the limit of open files (%d) does not allow more than the %d programs that are held: raise it ('ulimit -n', LimitNOFILE=) and start the supervisors again",
		limit, held)
}

// closeOutput ends the moving; what is in the pipe stays there.
func (p *program) closeOutput() {
	if p.stream != nil {
		p.stream.Close()
	}
	p.stream, p.pipe, p.log = nil, nil, nil
}

// handOver gives a new log to the standby before anything is written into it. It runs
// on a goroutine of the pump.
func (p *program) handOver(log *os.File) error {
	held := make(chan struct{})
	p.l.post(func() {
		p.log = log
		p.giveOutput(func(bool) { close(held) })
	})
	select {
	case <-held:
		return nil
	case <-p.l.ctx.Done():
		return context.Cause(p.l.ctx)
	}
}

func (p *program) noteOutput(text string) {
	p.l.post(func() { p.tell("program_output", text) })
}

// burialPatience is how long a successor waits for a parent that does not bury its
// dead: PID 1, for programs whose supervisor died.
const burialPatience = 500 * time.Millisecond

// awaitBurial waits until the number of a dead main process is free, with patience.
func awaitBurial(ctx context.Context, tree *proc.Tree) {
	ctx, cancel := context.WithTimeout(ctx, burialPatience)
	defer cancel()
	for wait := time.Millisecond; tree.Unburied(); wait = min(2*wait, 20*time.Millisecond) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// awaitGone waits until nothing of the tree is left.
func awaitGone(ctx context.Context, tree *proc.Tree) bool {
	for wait := time.Millisecond; tree.Alive(); wait = min(2*wait, 100*time.Millisecond) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
	return true
}
