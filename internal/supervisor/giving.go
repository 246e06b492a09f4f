package supervisor

import (
	"os"
	"strings"

	"github.com/pairguard/pairguard/internal/custody"
)

// give sends an item with the descriptors that it has now. One whose descriptors cannot
// be had, since they are used up, ends the link: what is not whole is no custody.
func (l *loop) give(seq uint64, item custody.Item) {
	k := l.active.link
	if k == nil {
		return // it has just ended, which the machine will hear
	}
	p := itemOf(seq, item)
	if item.Gone {
		k.send(p, nil)
		return
	}
	files, err := l.filesOf(item.Key)
	if err != nil {
		l.debug("custody: no descriptors", "key", item.Key, "error", err)
		l.tell("supervisor_failed", "the standby cannot be given "+item.Key+": "+err.Error())
		l.post(k.cut)
		return
	}
	k.send(p, files)
}

// filesOf duplicates the descriptors of a key.
func (l *loop) filesOf(key string) ([]*os.File, error) {
	if key == listenersKey {
		one, err := l.active.control.File()
		if err != nil {
			return nil, err
		}
		two, err := l.active.custody.File()
		if err != nil {
			one.Close()
			return nil, err
		}
		return []*os.File{one, two}, nil
	}
	kind, name, _ := strings.Cut(key, "/")
	p := l.programs[name]
	switch {
	case p == nil:
		return nil, nil
	case kind+"/" == processItem && p.handle != nil:
		f, err := p.handle.Dup()
		if err != nil {
			if isGone(err) {
				return nil, nil // its end is on its way to us, and the standby asks the record
			}
			return nil, err
		}
		return []*os.File{f}, nil
	case kind+"/" == outputItem && p.pipe != nil && p.log != nil:
		return duplicate(p.pipe, p.log)
	}
	return nil, nil
}

// giveOutput tells the standby of the pipe and the log of a program; held, which may
// be nil, is called when it has them.
func (p *program) giveOutput(held func(bool)) {
	p.l.submit(custody.Item{Key: outputItem + p.def.Name, Files: 2}, held)
}

// definition is the record of what the program is.
func (p *program) definition() definitionRecord {
	return definitionRecord{BootID: p.l.boot, Request: p.request, Definition: p.def}
}

// giveDefinition tells the standby what the program is; held, which may be nil, is
// called when it knows.
func (p *program) giveDefinition(held func(bool)) {
	d := p.definition()
	if p.environ != nil {
		d.Definition.Inherit, d.Environ = nil, p.environ.sum
	}
	p.l.submit(custody.Item{Key: definitionItem + p.def.Name, Body: encode(d)}, held)
	p.outdated.release()
	p.outdated = nil
}
