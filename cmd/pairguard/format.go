package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pairguard/pairguard"
)

// eventPrinter writes events, one a line.
type eventPrinter struct {
	json    bool
	layout  string // of the time, for people
	ownPID  int    // pid to show beside listening; 0: not known
	columns int    // width of the names

	mu     sync.Mutex
	w      io.Writer
	broken bool // nobody reads any more: guarding goes on without
}

func newEventPrinter(w io.Writer, asJSON bool, nameLengths ...int) *eventPrinter {
	p := &eventPrinter{w: w, json: asJSON, layout: "15:04:05.000", ownPID: os.Getpid()}
	for _, n := range nameLengths {
		p.columns = max(p.columns, n)
	}
	return p
}

// print writes e. A reader that went away (a lost terminal, `| head`) silences
// the output and nothing else; a full disk costs the lines that it does not take.
func (p *eventPrinter) print(e pairguard.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return
	}
	err := p.write(e)
	p.broken = errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.EIO)
}

func (p *eventPrinter) write(e pairguard.Event) error {
	if p.json {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = p.w.Write(append(line, '\n'))
		return err
	}
	p.columns = max(p.columns, len(subject(e)))
	line := fmt.Sprintf("%s %-*s  %-12s  %s", e.Time.Local().Format(p.layout), p.columns, subject(e), e.Kind, p.detail(e))
	_, err := fmt.Fprintln(p.w, strings.TrimRight(line, " "))
	return err
}

// subject is who saw it; of a program's events it is the program.
func subject(e pairguard.Event) string {
	if e.Program != "" {
		return e.Program
	}
	return e.Self
}

// detail is the part of a line that differs with the kind of event: about whom,
// how long it took, and why.
func (p *eventPrinter) detail(e pairguard.Event) string {
	var about string
	switch {
	case e.Program != "" && e.PID > 0:
		about = fmt.Sprintf("pid %d", e.PID)
	case e.Program != "" || e.Kind == pairguard.Stopped:
	case e.Kind == pairguard.Listening:
		if p.ownPID > 0 {
			about = fmt.Sprintf("pid %d", p.ownPID)
		}
	default:
		about = e.Peer
		if e.PeerPID > 0 {
			about += fmt.Sprintf(" pid %d", e.PeerPID)
		}
	}
	if e.After > 0 {
		about += " (back after " + milliseconds(e.After) + ")"
	}
	reason := strings.TrimSpace(e.Reason)
	if about != "" && reason != "" {
		about += ": "
	}
	return about + reason
}

// milliseconds shows a short time with one digit after the point.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
