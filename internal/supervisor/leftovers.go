package supervisor

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

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

func (o *leftovers) close() {
	for _, processes := range o.marked {
		for _, h := range processes {
			h.Close()
		}
	}
}
