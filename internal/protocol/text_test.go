package protocol

import (
	"fmt"
	"strings"

	"github.com/pairguard/pairguard/internal/detector"
	"github.com/pairguard/pairguard/internal/wire"
)

// eventText and actionText are how a trace shows what entered and what left.
func eventText(e Event) string {
	switch e := e.(type) {
	case Begun:
		return "Begun" + surveyText(e.Survey)
	case Dialed:
		return fmt.Sprintf("Dialed link %d%s%s", e.Link, processText(" to ", e.Process), flagText(e.Probe, " probe"))
	case DialFailed:
		return "DialFailed" + flagText(e.Probe, " probe") + flagText(e.Absent, " absent")
	case Greeted:
		return fmt.Sprintf("Greeted link %d%s%s", e.Link, processText(" by ", e.Process), flagText(!e.Hello.Healthy, " unhealthy"))
	case PlainHeard:
		return fmt.Sprintf("PlainHeard link %d%s", e.Link, processText(" from ", e.Process))
	case BeatHeard:
		return fmt.Sprintf("BeatHeard link %d%s", e.Link, flagText(!e.Beat.Healthy, " unhealthy"))
	case ByeHeard:
		return fmt.Sprintf("ByeHeard link %d %v", e.Link, e.Bye.Kind)
	case RefusedHeard:
		return fmt.Sprintf("RefusedHeard link %d", e.Link)
	case LinkLost:
		return fmt.Sprintf("LinkLost link %d", e.Link)
	case Examined:
		return "Examined" + processText(" ", e.Process) + sampleText(e.Sample)
	case Died:
		return "Died" + processText(" ", e.Process)
	case Started:
		return "Started" + processText(" ", e.Process)
	case Surveyed:
		return fmt.Sprintf("Surveyed %d:%s", e.Token, surveyText(e.Survey))
	case GoodbyeStored:
		return fmt.Sprintf("GoodbyeStored %v %s", e.Kind, e.Err)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", e), "protocol.")
}

func actionText(a Action) string {
	switch a := a.(type) {
	case Dial:
		return "Dial" + flagText(a.Probe, " probe")
	case Send:
		return fmt.Sprintf("Send link %d %s", a.Link, strings.TrimSpace(string(wire.Append(nil, a.Message))))
	case SendBeat:
		return fmt.Sprintf("SendBeat link %d", a.Link)
	case CloseLink:
		return fmt.Sprintf("CloseLink link %d", a.Link)
	case TakeSurvey:
		return fmt.Sprintf("TakeSurvey %d", a.Token)
	case Kill:
		return "KILL" + processText(" ", a.Process)
	case Examine:
		return "Examine" + processText(" ", a.Process)
	case Dump:
		return "DUMP" + processText(" ", a.Process)
	case Terminate:
		return "Terminate" + processText(" ", a.Process)
	case StoreGoodbye:
		return fmt.Sprintf("StoreGoodbye %v %s", a.Kind, a.Reason)
	case Emit:
		return noticeText(a.Notice)
	case End:
		return "End " + a.Err
	}
	return strings.ToUpper(strings.TrimPrefix(fmt.Sprintf("%T", a), "protocol."))
}

func noticeText(n Notice) string {
	s := "* " + string(n.Kind)
	if n.PID != 0 {
		s += fmt.Sprintf(" pid=%d", n.PID)
	}
	if n.Generation != 0 {
		s += fmt.Sprintf(" generation=%d", n.Generation)
	}
	if n.After != 0 {
		s += fmt.Sprintf(" after=%v", n.After)
	}
	return s + flagText(n.Reason != "", ": "+n.Reason)
}

func sampleText(s detector.Sample) string {
	if s.Err != "" {
		return ": " + s.Err
	}
	state := fmt.Sprintf(": %dR %dD %dT of %d", s.Runnable, s.Blocked, s.Stopped, s.Threads)
	return state + flagText(s.Tracer != "", ", traced") + flagText(s.Frozen != "", ", frozen") + fmt.Sprintf(", CPU %v", s.CPU)
}

func surveyText(s Survey) string {
	var b strings.Builder
	b.WriteString(flagText(s.Err != "", " unreadable: "+s.Err))
	b.WriteString(processText(" holder ", s.Holder))
	b.WriteString(flagText(s.HolderUnseen, " holder unseen"))
	b.WriteString(processText(" recorded ", s.Recorded))
	b.WriteString(flagText(s.Stopped, " stopped: "+s.StopReason))
	b.WriteString(flagText(s.PeerLeft, " peer left"))
	b.WriteString(flagText(s.Generation > 0, fmt.Sprintf(" generation %d", s.Generation)))
	b.WriteString(flagText(s.HeldFor > 0, fmt.Sprintf(" held for %v", s.HeldFor)))
	if b.Len() == 0 {
		return " nothing"
	}
	return b.String()
}

func processText(before string, p Process) string {
	if p == (Process{}) {
		return ""
	}
	return fmt.Sprintf("%sp%d", before, p.Handle)
}

func flagText(is bool, text string) string {
	if is {
		return text
	}
	return ""
}
