package pairguard

import (
	"context"
	"log/slog"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
)

// waitingEvents bounds the queue to a slow Config.OnEvent.
const waitingEvents = 256

// herald tells events to the event log and the logger, and to the application, each
// in a goroutine of its own, so that neither a slow disk nor a slow application can
// hold up the guard, nor the application the log.
type herald struct {
	queue   chan Event
	done    chan struct{} // closed when run has ended
	log     *pairdir.Log
	logger  *slog.Logger
	heard   chan Event    // for onEvent; nil: nobody wants to hear
	told    chan struct{} // closed when onEvent has had everything
	onEvent func(Event)
	dropped int // owned by the loop
}

func newHerald(s settings, log *pairdir.Log) *herald {
	h := &herald{
		queue: make(chan Event, waitingEvents), done: make(chan struct{}),
		log: log, logger: s.Logger, told: make(chan struct{}), onEvent: s.OnEvent,
	}
	if h.onEvent == nil {
		close(h.told)
	} else {
		h.heard = make(chan Event, waitingEvents)
		go h.call()
	}
	go h.run()
	return h
}

// tell queues an event; it is called by the loop alone.
func (h *herald) tell(e Event) {
	select {
	case h.queue <- e:
	default:
		h.dropped++
	}
}

// close waits for what is queued, for at most d: a disk may hang, and an
// application's handler may never return.
func (h *herald) close(d time.Duration) {
	close(h.queue)
	deadline := time.After(d)
	select {
	case <-h.done:
	case <-deadline:
		return
	}
	if h.log != nil {
		h.log.Close()
	}
	select {
	case <-h.told:
	case <-deadline:
	}
}

// call is the application's goroutine.
func (h *herald) call() {
	defer close(h.told)
	for e := range h.heard {
		h.onEvent(e)
	}
}

func (h *herald) run() {
	defer close(h.done)
	if h.heard != nil {
		defer close(h.heard)
	}
	for e := range h.queue {
		h.write(e)
		if h.logger != nil {
			h.logger.LogAttrs(context.Background(), levelOf(e.Kind), string(e.Kind),
				slog.String("self", e.Self), slog.String("peer", e.Peer), slog.Int("peer_pid", e.PeerPID),
				slog.Uint64("generation", e.Generation), slog.String("reason", e.Reason))
		}
		select {
		case h.heard <- e: // nil: never
		default:
		}
	}
}

func (h *herald) write(e Event) {
	if h.log == nil {
		return
	}
	r := pairdir.Record{
		Time: e.Time, Event: string(e.Kind), Self: e.Self, Peer: e.Peer,
		PeerPID: e.PeerPID, Generation: e.Generation, Reason: e.Reason, AfterMS: e.afterMS(),
	}
	if err := h.log.Append(r); err != nil && h.logger != nil {
		h.logger.Warn("the event log could not be written", "error", err)
	}
}

func levelOf(k EventKind) slog.Level {
	switch k {
	case PeerDead, PeerHung, PeerSuspect, PeerFailed:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// tell sends an event into the world, with what every event has.
func (l *loop) tell(e Event) {
	e.Time, e.Self, e.Peer = time.Now(), l.m.settings.Self, l.m.settings.Peer
	l.herald.tell(e)
}

// debug logs what happens inside, when somebody wants to know.
func (s *settings) debug(what string, args ...any) {
	if s.Logger != nil {
		s.Logger.Debug(what, args...)
	}
}
