package supervisor

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/pairguard/pairguard/internal/lifecycle"
	"github.com/pairguard/pairguard/internal/proc"
)

// newToken marks one life of a program, so that it can be told from every other one in
// every folder.
func (p *program) newToken(gen uint64) string {
	return fmt.Sprintf("%s/%s/%d/%016x", p.l.groupName, p.def.Name, gen, rand.Uint64())
}

// parseToken is the opposite of newToken.
func parseToken(token string) (name string, gen uint64, ok bool) {
	parts := strings.Split(token, "/")
	if len(parts) != 4 {
		return "", 0, false
	}
	gen, err := strconv.ParseUint(parts[2], 10, 64)
	return parts[1], gen, err == nil
}

// leftovers are the marked processes of a folder whose supervisors have died together.
// The disk may know less than what there is: it was full, or it hung.
type leftovers struct {
	l      *loop
	marked map[string][]*proc.Handle // by token; nil: it cannot be known
}

// findLeftovers looks at every process once.
func (l *loop) findLeftovers() *leftovers {
	marked, err := proc.FindAllMarked(tokenVariable, l.groupName+"/")
	if err != nil {
		l.tell("supervisor_failed", "programs that the disk does not know of are not looked for: "+err.Error())
	}
	return &leftovers{l: l, marked: marked}
}

// newest returns what custody or a mark has of a life of p that the record does not know,
// the newest. Without a Handle: there is none, and kept is as it was.
func (o *leftovers) newest(p *program, kept keptProcess) keptProcess {
	gen, main := o.of(p)
	marked := keptProcess{main, gen}
	switch {
	case kept.Handle == nil || kept.generation <= p.record().Generation && main == nil:
		return marked
	case kept.generation <= max(p.record().Generation, gen):
		kept.Close()
		return marked
	case main != nil:
		o.end(p, gen, main)
	}
	return kept
}

// of returns the main process of p's newest life if the record does not know that
// life, and ends what is left of all others that it does not know.
func (o *leftovers) of(p *program) (gen uint64, main *proc.Handle) {
	if o == nil {
		return 0, nil
	}
	for token, processes := range o.marked {
		name, life, ok := parseToken(token)
		if !ok || name != p.def.Name || token == p.run.Token || len(processes) == 0 {
			continue
		}
		delete(o.marked, token)
		found := chooseMain(processes)
		if found == nil {
			continue
		}
		if p.run.Process != nil && found.ID() == *p.run.Process { // known, whatever mark it has
			found.Close()
			continue
		}
		if life <= max(gen, p.record().Generation) {
			o.end(p, life, found)
			continue
		}
		if main != nil {
			o.end(p, gen, main)
		}
		gen, main = life, found
	}
	return gen, main
}

// end ends the main process of a life that was overtaken.
func (o *leftovers) end(p *program, gen uint64, h *proc.Handle) {
	p.tell("program_failed", fmt.Sprintf("process %d of an earlier life, %d, was still there: killed", h.PID(), gen))
	_ = h.Kill()
	<-h.Done()
	h.Close()
}

// close ends the search.
func (o *leftovers) close() {
	for _, processes := range o.marked {
		for _, h := range processes {
			h.Close()
		}
	}
}

// stray is a program that nobody defined as far as the disk knows: both supervisors died
// while an up or run was on its way. Whoever asks again gets it.
type stray struct {
	generation uint64
	main       *proc.Handle
}

// keepStrays keeps the main processes of names that are not known, the newest of each.
func (o *leftovers) keepStrays() {
	if o == nil {
		return
	}
	for token, processes := range o.marked {
		name, life, ok := parseToken(token)
		if !ok || o.l.programs[name] != nil {
			continue
		}
		delete(o.marked, token)
		main := chooseMain(processes)
		if main == nil {
			continue
		}
		old := o.l.strays[name]
		if old.generation > life {
			main, life, old = old.main, old.generation, stray{life, main}
		}
		if old.main != nil {
			o.l.later(func() { endStray(old) })
		}
		o.l.strays[name] = stray{life, main}
		o.l.tell("supervisor_note", fmt.Sprintf("process %d is of a program %s that the disk does not know: the next 'up' or 'run' of that name takes it, 'down' ends it", main.PID(), name))
	}
}

func endStray(s stray) {
	_ = s.main.Kill()
	<-s.main.Done()
	s.main.Close()
}

// takeStray makes a stray, if there is one, the process of a program that has just been
// defined.
func (p *program) takeStray() {
	s, found := p.l.strays[p.def.Name]
	if !found {
		return
	}
	delete(p.l.strays, p.def.Name)
	if err := p.openOutput(); err != nil {
		p.logging = err.Error()
		p.tell("program_output", err.Error())
	}
	p.adopted = true
	p.step(lifecycle.Begin{FromDisk: true, Found: s.generation})
	p.guard(s.generation, s.main)
	p.publish(nil)
}

// endStrays ends them all.
func (l *loop) endStrays() {
	for name, s := range l.strays {
		delete(l.strays, name)
		l.later(func() { endStray(s) })
	}
}
