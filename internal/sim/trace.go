package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// trace is the story of a run, one line a step:
//
//	time  process  event [phase it leads to]  actions
//
// A process is its name's letter and its number: B3.
type trace struct{ lines []string }

func (w *world) tell(id int32, what, more string) {
	if w.trace != nil {
		w.tellWorld(strings.TrimSpace(w.short(id) + " " + what + " " + more))
	}
}

func (w *world) tellWorld(what string) {
	if w.trace != nil {
		w.trace.lines = append(w.trace.lines, fmt.Sprintf("%10.4f %s", w.now.Seconds(), what))
	}
}

func (w *world) short(id int32) string {
	if id < 0 {
		return "-"
	}
	return fmt.Sprintf("%c%d", names[w.procs[id].name][4], id)
}

func (w *world) parentText(parent int32) string {
	if w.trace == nil {
		return ""
	}
	if parent < 0 {
		return "by a person"
	}
	return "of " + w.short(parent)
}

func (w *world) tellDeed(h happening, id int32) {
	if w.trace != nil {
		w.tellWorld(fmt.Sprintf("---- %s -> %s", h, w.short(id)))
	}
}

func (h happening) String() string {
	s := fmt.Sprintf("%s %s", deedNames[h.deed], names[h.name])
	switch h.deed {
	case standStill, starve, freeze, debug, stall, suspend, hold, folderAway, spawnsFail:
		s += fmt.Sprintf(" for %v", h.lasts.Round(time.Millisecond))
	}
	return s
}

func (w *world) tellStep(id int32, e protocol.Event, actions []protocol.Action) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-4s %s [%v]", w.short(id), w.eventText(e), w.procs[id].machine.Phase())
	for _, a := range actions {
		b.WriteString("  " + w.actionText(a))
	}
	w.tellWorld(b.String())
}

func (w *world) processText(p protocol.Process) string {
	if !p.Known() {
		return "nobody"
	}
	return w.short(procOf(p))
}

func (w *world) eventText(e protocol.Event) string {
	switch e := e.(type) {
	case protocol.Begun:
		return "Begun " + w.surveyText(e.Survey)
	case protocol.Surveyed:
		return fmt.Sprintf("Surveyed %d %s", e.Token, w.surveyText(e.Survey))
	case protocol.Dialed:
		return fmt.Sprintf("Dialed %d %s probe=%v", e.Link, w.processText(e.Process), e.Probe)
	case protocol.Greeted:
		return fmt.Sprintf("Greeted %d %s healthy=%v", e.Link, w.processText(e.Process), e.Hello.Healthy)
	case protocol.PlainHeard:
		return fmt.Sprintf("PlainHeard %d %s", e.Link, w.processText(e.Process))
	case protocol.Examined:
		x := e.Sample
		return fmt.Sprintf("Examined %s %dR %dT cpu=%v %s%s%s", w.processText(e.Process), x.Runnable, x.Stopped, x.CPU, x.Tracer, x.Frozen, x.Err)
	case protocol.Died:
		return "Died " + w.processText(e.Process)
	case protocol.Started:
		return "Started " + w.processText(e.Process)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", e, e), "protocol.")
}

func (w *world) surveyText(s protocol.Survey) string {
	return fmt.Sprintf("holder=%s recorded=%s stopped=%v left=%v held=%v err=%q",
		w.processText(s.Holder), w.processText(s.Recorded), s.Stopped, s.PeerLeft, s.HeldFor, s.Err)
}

func (w *world) actionText(a protocol.Action) string {
	switch a := a.(type) {
	case protocol.Emit:
		return "*" + string(a.Notice.Kind) + "(" + a.Notice.Reason + ")"
	case protocol.Send:
		return fmt.Sprintf("Send %d %s", a.Link, strings.TrimPrefix(fmt.Sprintf("%T", a.Message), "wire."))
	case protocol.Examine:
		return "Examine " + w.processText(a.Process)
	case protocol.Kill:
		return "KILL " + w.processText(a.Process)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%v", a, a), "protocol.")
}

// killsAt: the action that a killAtAction of that kind waits for.
func killsAt(which uint8, a protocol.Action) bool {
	switch a := a.(type) {
	case protocol.StoreGoodbye:
		return which == 0
	case protocol.Spawn:
		return which == 1
	case protocol.Kill:
		return which == 2
	case protocol.TakeSurvey:
		return which == 3
	case protocol.Dial:
		return which == 4
	case protocol.Send:
		_, bye := a.Message.(wire.Bye)
		return which == 5 && bye
	}
	return false
}
