package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

// active is what only the acting supervisor has.
type active struct {
	l       *loop
	claim   *pairdir.Claim
	births  *os.File // open for writing as long as we live; each child has it until its exec
	control *ipc.StreamListener
	custody *ipc.CourierListener

	link     *link        // to the standby; nil: none
	other    *proc.Handle // the standby's process; nil: none known
	joined   joining
	stranger proc.ID // a standby of another version; zero: none
	serving  bool
	used     bool // somebody has asked for something
	recalled bool // the other supervisor was started again after it had left
	since    time.Time
	lastHeal string
}

// act makes us the active one: the lock is ours.
func (l *loop) act(a custody.Act) {
	l.active.since = time.Now()
	if err := l.active.begin(a.Settled); err != nil {
		l.failure = fmt.Errorf("supervisor: cannot act: %w", err)
		return
	}
	if l.standby != nil && l.standby.handle != nil {
		l.tell("supervisor_active", fmt.Sprintf("took over from process %d", l.standby.handle.PID()))
	} else {
		l.tell("supervisor_active", "began")
	}
	l.restore(a)
	if !a.Complete {
		// When every program has begun, and what that led to has been submitted.
		l.next(func() { l.next(func() { l.decide(custody.Loaded{}) }) })
	}
	if l.standby != nil {
		l.standby.drop()
		l.standby = nil
	}
	l.active.serve()
	l.considerEnding()
}

// begin listens, on the sockets that the one before us has handed over where it did:
// who waits in their queues loses nothing.
func (a *active) begin(settled bool) error {
	l := a.l
	if err := a.bear(settled); err != nil {
		return err
	}
	var err error
	if files := l.standby.take(listenersKey); len(files) == 2 {
		a.control, err = ipc.AdoptStream(files[0], l.name.Address())
		if err == nil {
			a.custody, err = ipc.AdoptCourier(files[1], l.custodyAddress())
		} else {
			files[1].Close()
		}
		if err == nil {
			return nil
		}
		l.debug("listeners cannot be adopted", "error", err)
	}
	return a.listen()
}

// listen makes both sockets anew.
func (a *active) listen() error {
	a.stopListening()
	if err := a.claim.RemoveStaleSocket(); err != nil {
		return err
	}
	var err error
	if a.control, err = ipc.ListenStream(a.l.name.Address()); err != nil {
		return err
	}
	address := a.l.custodyAddress()
	if err := os.Remove(string(address)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	a.custody, err = ipc.ListenCourier(address)
	return err
}

func (a *active) stopListening() {
	if a.control != nil {
		a.control.Close()
	}
	if a.custody != nil {
		a.custody.Close()
	}
}

// serve lets the standby and clients in.
func (a *active) serve() {
	l := a.l
	a.serving = true
	l.submit(custody.Item{Key: listenersKey, Files: 2}, nil)
	couriers, clients := a.custody, a.control
	l.later(func() { a.accept(couriers) })
	l.clients.Go(func() { control.Serve(l.ctx, control.Streams(clients), &handler{l}) })
}

// checked: what a look at our lock and our sockets has found.
func (a *active) checked(healed []string, err error) {
	if errors.Is(err, pairdir.ErrLost) {
		a.l.failure = fmt.Errorf("supervisor: %w", err)
		return
	}
	_, gone := os.Lstat(string(a.l.name.Address()))
	_, goneToo := os.Lstat(string(a.l.custodyAddress()))
	if errors.Is(gone, os.ErrNotExist) || errors.Is(goneToo, os.ErrNotExist) {
		healed = append(healed, "a socket of the supervisors had been removed and is back")
		if !a.l.succeeded(a.listen()) {
			return
		}
		a.serve()
	}
	text := strings.Join(healed, "; ")
	if text != "" && text != a.lastHeal {
		a.l.tell("supervisor_healed", text)
	}
	a.lastHeal = text
}

// succeeded tells people of an error.
func (l *loop) succeeded(err error) bool {
	if err != nil {
		l.tell("supervisor_failed", err.Error())
	}
	return err == nil
}

// accept lets a standby in, one after the other.
func (a *active) accept(from *ipc.CourierListener) {
	for {
		conn, err := from.Accept()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-a.l.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond): // descriptors may be used up for the moment
			}
			continue
		}
		a.l.later(func() { a.welcome(conn) })
	}
}

// welcome lets in who holds the name of the other supervisor, and nobody else.
func (a *active) welcome(conn *ipc.Courier) {
	l := a.l
	handle, err := l.trust(conn, l.peer)
	if err != nil {
		l.debug("not a standby", "error", err)
		conn.Close()
		return
	}
	conn.SetReceiveDeadline(time.Now().Add(dialPatience))
	parcels, err := receive(conn)
	var j joining
	if err == nil {
		j, err = parseJoining(parcels)
	}
	conn.SetReceiveDeadline(time.Time{})
	if errors.Is(err, errVersion) {
		l.post(func() { a.tellStranger(handle.ID(), err) })
	}
	if err != nil || !l.post(func() { a.join(conn, handle, j) }) {
		conn.Close()
		handle.Close()
	}
}

// tellStranger says once that a standby cannot be given anything.
func (a *active) tellStranger(id proc.ID, err error) {
	if a.stranger == id {
		return
	}
	a.stranger = id
	a.l.tell("supervisor_failed", fmt.Sprintf("process %d cannot stand by: %v; it was started after pairguard was replaced: end this supervisor (kill %d), and that one goes on with what the disk has",
		id.PID, err, a.l.me.PID))
}

// trust returns a handle on who is at the other end, if that is the holder of name.
func (l *loop) trust(conn *ipc.Courier, name pairdir.Name) (*proc.Handle, error) {
	peer, err := conn.Peer()
	if err != nil {
		return nil, err
	}
	if err := peer.Trusted(); err != nil {
		return nil, err
	}
	holder, err := l.dir.Holder(name)
	if err != nil {
		return nil, err
	}
	if !holder.Held || holder.PID != peer.PID {
		return nil, fmt.Errorf("process %d is not the holder of %s", peer.PID, name)
	}
	return peer.Open()
}

// join begins to give the standby everything.
func (a *active) join(conn *ipc.Courier, handle *proc.Handle, j joining) {
	l := a.l
	if a.link != nil {
		a.link.close()
		a.link = nil
	}
	if a.other != nil && a.other.ID() != handle.ID() {
		// Whoever holds the name now came after the death of the one before.
		l.decide(custody.StandbyLost{})
	}
	if a.other != nil {
		a.other.Close()
	}
	a.other, a.joined = handle, j
	handle.OnDone(func() { l.post(func() { a.lost(handle) }) })
	a.link = newLink(l, conn)
	l.decide(custody.StandbyJoined{})
}

func (a *active) lost(handle *proc.Handle) {
	if a.other != handle {
		return
	}
	a.other.Close()
	a.other = nil
	if a.link != nil {
		a.link.close()
		a.link = nil
	}
	a.l.decide(custody.StandbyLost{})
}
