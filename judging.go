package pairguard

import (
	"fmt"
	"time"

	"github.com/pairguard/pairguard/internal/detector"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/protocol"
)

// dumpWait is how long a dump is waited for: as long as the machine does before it
// kills, and a little for the end after that.
const dumpWait = 2 * time.Second

// examine looks at a suspect aside: a busy machine may take its time over it.
func (l *loop) examine(p protocol.Process) {
	l.later(func() protocol.Event {
		return protocol.Examined{Process: p, Sample: l.known.examine(p)}
	})
}

// examine looks once at a process through its handle.
func (p *processes) examine(s protocol.Process) detector.Sample {
	h := p.handleOf(s)
	if h == nil {
		return detector.Sample{Err: "there is no handle on it any more"}
	}
	x, err := h.Examine()
	if err != nil {
		return detector.Sample{Err: err.Error()}
	}
	return sampleOf(x)
}

// sampleOf is what the detector needs of a look.
func sampleOf(x proc.Examination) detector.Sample {
	return detector.Sample{
		Threads: x.Threads, Runnable: x.Runnable, Blocked: x.Blocked, Stopped: x.Stopped,
		Tracer: x.Tracer.String(), Frozen: x.Frozen, FrozenKnown: x.FrozenKnown,
		CPU: x.CPU, CPUKnown: x.CPUKnown,
		RunDelay: x.RunDelay, Throttled: x.Throttled, ThrottledBy: x.ThrottledBy,
	}
}

// dump makes a hung peer say what it was doing and keeps that. The next start
// waits for it, so that the outputs of two lives do not mix.
func (l *loop) dump(p protocol.Process) {
	h := l.known.handleOf(p)
	if h == nil {
		return
	}
	dumped := make(chan struct{})
	l.dumped = dumped
	l.aside.Go(func() {
		defer close(dumped)
		l.m.post(note(l.host.dump(h)))
	})
}

func (h *realHost) dump(process *proc.Handle) string {
	output, err := h.dir.BeginDump(h.peer)
	if err != nil {
		return fmt.Sprintf("what %s was doing cannot be kept: %v", h.peer, err)
	}
	defer output.Close()
	if err := process.Abort(); err != nil {
		return fmt.Sprintf("%s cannot be asked what it was doing: %v", h.peer, err)
	}
	select {
	case <-process.Done():
	case <-time.After(dumpWait):
	}
	path, size, err := output.Keep(fmt.Sprintf("%v as %s, hung, at %s\n", process.ID(), h.peer, time.Now().Format(time.RFC3339)))
	switch {
	case err != nil:
		return fmt.Sprintf("what %s was doing cannot be kept: %v", h.peer, err)
	case size == 0:
		return fmt.Sprintf("%s did not say what it was doing, or its output goes elsewhere: a peer that a person started writes to that person's terminal", h.peer)
	}
	return fmt.Sprintf("what %s was doing is in %s", h.peer, path)
}
