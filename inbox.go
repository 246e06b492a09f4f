package pairguard

import (
	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/protocol"
)

// message is what reaches the loop from other goroutines. Each kind knows what the
// loop has to do with it; the set is sealed.
type message interface{ reach(l *loop) }

type (
	// news is an event for the machine that is of no link.
	news struct{ event protocol.Event }
	// linkMade brings a connection, and the event that introduces it.
	linkMade struct {
		id    protocol.Link
		conn  *ipc.Conn
		event protocol.Event
	}
	// linkNews is an event of a link that was brought before.
	linkNews struct {
		id    protocol.Link
		event protocol.Event
	}
	// question asks what Status says.
	question struct{ reply chan<- Status }
	// note is something to tell that the machine need not know.
	note string
	// beatDue: the application's check is done, the heartbeat can go out.
	beatDue struct{ id protocol.Link }
	// beatPaid: the application has shown the sign of life that the last heartbeat
	// lacked.
	beatPaid struct{}
	// surveyed is what the folder says, and by which tokens it was asked for.
	surveyed struct {
		tokens []uint64
		survey protocol.Survey
	}
	// nameState is what a look at our own name found.
	nameState struct {
		healed  []string // what had been removed and is back, in words
		stopped bool     // the pair's stop is stored
		err     error    // the name is lost: another process holds it
	}
)

func (n news) reach(l *loop) { l.step(n.event) }

func (n linkMade) reach(l *loop) {
	l.links[n.id] = &link{conn: n.conn}
	l.step(n.event)
}

func (n linkNews) reach(l *loop) {
	if l.links[n.id] == nil {
		return // the machine has closed it: what was still on its way is void
	}
	if _, lost := n.event.(protocol.LinkLost); lost {
		l.closeLink(n.id)
	}
	l.step(n.event)
}

func (q question) reach(l *loop) { q.reply <- l.status() }

func (n note) reach(l *loop) { l.tell(Event{Kind: Listening, Reason: string(n)}) }

func (b beatDue) reach(l *loop) { l.putBeat(b.id) }

func (beatPaid) reach(l *loop) { l.payBeat() }

func (s surveyed) reach(l *loop) {
	l.surveying = false
	if s.survey.Err != "" {
		l.crowd.hangUp()
	}
	l.tellRemarks()
	for _, token := range s.tokens {
		l.step(protocol.Surveyed{Token: token, Survey: s.survey})
	}
	if len(l.asked) > 0 && !l.surveying && !l.ended {
		l.takeSurvey()
	}
}

func (s nameState) reach(l *loop) { l.nameChecked(s) }

// post hands a message to the loop; false: the loop has ended.
func (m *Member) post(msg message) bool {
	select {
	case m.inbox <- msg:
		return true
	case <-m.quit:
		return false
	}
}
