package supervisor

import (
	"os"
	"sync"

	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/ipc"
)

// link is the custody link, as the active one has it.
type link struct {
	l    *loop
	conn *ipc.Courier

	mu     sync.Mutex
	queue  []outgoing
	closed bool
	wake   chan struct{} // has room for one
}

// outgoing is a parcel, or several, with what goes with them.
type outgoing struct {
	bytes []byte
	files []*os.File // closed when they are sent
}

func newLink(l *loop, conn *ipc.Courier) *link {
	k := &link{l: l, conn: conn, wake: make(chan struct{}, 1)}
	l.later(k.write)
	l.later(k.read)
	return k
}

// send hands a parcel to the link and takes the files over. It never waits for the
// standby.
func (k *link) send(p parcel, files []*os.File) {
	p.Files = len(files)
	k.mu.Lock()
	closed := k.closed
	if !closed {
		k.queue = append(k.queue, outgoing{p.appendTo(nil), files})
	}
	k.mu.Unlock()
	if closed {
		closeAll(files)
		return
	}
	k.ring()
}

func (k *link) ring() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *link) close() {
	k.mu.Lock()
	k.closed = true
	for _, o := range k.queue {
		closeAll(o.files)
	}
	k.queue = nil
	k.mu.Unlock()
	k.ring()
	k.conn.Close()
}

func (k *link) write() {
	for {
		k.mu.Lock()
		queue, closed := k.queue, k.closed
		k.queue = nil
		k.mu.Unlock()
		if closed {
			return
		}
		if len(queue) == 0 {
			<-k.wake
			continue
		}
		for len(queue) > 0 {
			var o outgoing
			o, queue = pack(queue)
			err := k.conn.Send(o.bytes, o.files...)
			closeAll(o.files)
			if err != nil {
				for _, rest := range queue {
					closeAll(rest.files)
				}
				k.l.debug("custody link: cannot send", "error", err)
				k.l.post(k.cut)
				return
			}
		}
	}
}

// recordSize is how long a record may become by packing; one parcel may be longer.
const recordSize = 16 << 10

// pack makes one record of the first parcels of a queue that is not empty.
func pack(queue []outgoing) (record outgoing, rest []outgoing) {
	record, rest = queue[0], queue[1:]
	for len(rest) > 0 && len(record.bytes)+len(rest[0].bytes) <= recordSize && len(record.files)+len(rest[0].files) <= ipc.MaxFiles {
		record.bytes = append(record.bytes, rest[0].bytes...)
		record.files = append(record.files, rest[0].files...)
		rest = rest[1:]
	}
	return record, rest
}

// read takes the acknowledgements.
func (k *link) read() {
	for {
		parcels, err := receive(k.conn)
		if err != nil {
			k.l.debug("custody link: cannot receive", "error", err)
			k.l.post(k.cut)
			return
		}
		for _, p := range parcels {
			closeAll(p.files)
			if p.Kind == ackParcel {
				k.l.postUrgent(func() { k.acked(p.Seq) })
			}
		}
	}
}

func (k *link) acked(seq uint64) {
	if k.l.active.link == k {
		k.l.decide(custody.Acked{Seq: seq})
	}
}

// cut: the link has ended; whether the standby has, its handle tells.
func (k *link) cut() {
	if k.l.active.link != k {
		return
	}
	k.close()
	k.l.active.link = nil
	k.l.decide(custody.StandbyCut{})
}
