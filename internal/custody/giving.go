package custody

import (
	"slices"
	"time"
)

// standing is what the active one knows of its standby.
type standing uint8

const (
	alone   standing = iota
	joined           // linked
	severed          // without a link, not proved dead: it may take over with what it has
)

// giving is the active one's side: what there is, what the standby was given, and what it has.
type giving struct {
	standing standing
	entries  map[string]*entry
	order    []*entry // in the order in which they came; one that is gone leaves the entries when the standby knows
	left     int      // of order, how many are forgotten
	firsts   []place  // to be given before queue
	queue    []place  // to be given, what was submitted first first
	waiting  int      // places that count
	turn     uint64   // the newest place
	flights  []flight // given and not acknowledged
	seq      uint64
	fresh    int  // keys of the snapshot that were not given yet
	loading  bool // there may be more on disk
	ending   bool // EndSnapshot was sent
	done     bool // the snapshot was acknowledged
	fenceAt  time.Duration
	out      []Action
}

type entry struct {
	item    Item
	turn    uint64   // its place in the queue; 0: none
	fresh   bool     // part of the snapshot, and not given yet
	flying  int      // how many flights it is on
	left    bool     // forgotten
	tickets []uint64 // for what has not been given yet
}

// place is one in the queue; it does not count when the entry has got another one.
type place struct {
	entry *entry
	turn  uint64
}

type flight struct {
	seq     uint64
	entry   *entry // nil: EndSnapshot
	tickets []uint64
}

func newGiving(items []Item, loading bool) giving {
	g := giving{entries: map[string]*entry{}, fenceAt: never, loading: loading}
	for _, it := range items {
		if !it.Gone {
			g.add(&entry{item: it})
		}
	}
	return g
}

func (g *giving) add(n *entry) {
	g.entries[n.item.Key] = n
	g.order = append(g.order, n)
}

func (g *giving) lack() string {
	switch {
	case g.standing == alone:
		return "there is no standby"
	case g.standing == severed:
		return "the link to the standby has ended"
	case g.loading:
		return "not everything was read from disk yet"
	case !g.done:
		return "the standby has not got its copy yet"
	case len(g.flights) > 0 || g.waiting > 0:
		return "the standby has not acknowledged everything yet"
	}
	return ""
}

func (g *giving) step(now time.Duration, e Event) []Action {
	g.out = nil
	switch e := e.(type) {
	case Submit:
		g.submit(e)
	case Loaded:
		g.loading = false
	case StandbyJoined:
		g.recall()
		g.standing, g.fenceAt = joined, never
		g.snapshot()
	case StandbyCut:
		if g.standing == joined {
			g.recall()
			g.standing, g.fenceAt = severed, now+cutPatience
		}
	case StandbyLost:
		g.lost()
	case Acked:
		g.acked(e.Seq)
	}
	if g.standing == severed && now >= g.fenceAt {
		g.fenceAt = now + cutPatience // and again, should the kill have failed
		g.do(Fence{})
	}
	g.give()
	return g.out
}

func (g *giving) do(a Action) { g.out = append(g.out, a) }

func (g *giving) submit(s Submit) {
	n := g.entries[s.Item.Key]
	if n == nil {
		n = &entry{item: s.Item}
		g.add(n)
	}
	n.item = s.Item
	if g.standing == alone {
		if s.Ticket != 0 {
			g.do(Release{Ticket: s.Ticket})
		}
		g.forget(n)
		return
	}
	if s.Ticket != 0 {
		n.tickets = append(n.tickets, s.Ticket)
	}
	g.enqueue(n)
}

// enqueue keeps the place of what waits already, but for what goes first: it is needed
// before what was submitted earlier, and no longer when all that waits is given.
func (g *giving) enqueue(n *entry) {
	if n.turn != 0 && !n.item.First {
		return
	}
	if n.turn == 0 {
		g.waiting++
	}
	g.turn++
	n.turn = g.turn
	if n.item.First && !n.item.Gone {
		g.firsts = append(g.firsts, place{n, n.turn})
		return
	}
	g.queue = append(g.queue, place{n, n.turn})
}

// next takes the next place; false: there is none.
func (g *giving) next() (p place, ok bool) {
	from := &g.firsts
	if len(*from) == 0 {
		from = &g.queue
	}
	if len(*from) == 0 {
		return p, false
	}
	p = (*from)[0]
	(*from)[0], *from = place{}, (*from)[1:]
	return p, true
}

// snapshot: a new standby is given everything.
func (g *giving) snapshot() {
	g.firsts, g.queue, g.waiting, g.fresh, g.ending, g.done = nil, nil, 0, 0, false, false
	for _, n := range g.order {
		if n.left {
			continue
		}
		n.turn, n.fresh = 0, true
		g.fresh++
		g.enqueue(n)
	}
}

// recall takes back what is on its way to a standby that will not answer: its tickets wait for the next one, or for the proof that
// there is none.
func (g *giving) recall() {
	for _, f := range g.flights {
		if f.entry != nil {
			f.entry.tickets = append(f.tickets, f.entry.tickets...)
			f.entry.flying = 0
		}
	}
	g.flights = nil
}

// lost: whoever takes over reads the disk.
func (g *giving) lost() {
	g.recall()
	g.standing, g.fenceAt, g.firsts, g.queue, g.waiting, g.done = alone, never, nil, nil, 0, false
	for _, n := range slices.Clone(g.order) { // forget may compact it
		for _, t := range n.tickets {
			g.do(Release{Ticket: t})
		}
		n.tickets, n.turn, n.fresh = nil, 0, false
		g.forget(n)
	}
}

// give sends as much as the window allows.
func (g *giving) give() {
	if g.standing != joined {
		return
	}
	for len(g.flights) < Window {
		if g.fresh == 0 && !g.ending && !g.loading {
			g.ending = true
			g.seq++
			g.flights = append(g.flights, flight{seq: g.seq})
			g.do(EndSnapshot{g.seq})
			continue
		}
		next, ok := g.next()
		if !ok {
			return
		}
		n := next.entry
		if n.turn != next.turn {
			continue
		}
		g.waiting--
		if n.fresh {
			n.fresh = false
			g.fresh--
		}
		g.seq++
		g.flights = append(g.flights, flight{seq: g.seq, entry: n, tickets: n.tickets})
		n.turn, n.tickets, n.flying = 0, nil, n.flying+1
		g.do(Give{g.seq, n.item})
	}
}

func (g *giving) acked(seq uint64) {
	for len(g.flights) > 0 && g.flights[0].seq <= seq {
		f := g.flights[0]
		g.flights[0], g.flights = flight{}, g.flights[1:]
		if f.entry == nil {
			g.done = true
			continue
		}
		f.entry.flying--
		for _, t := range f.tickets {
			g.do(Release{Ticket: t, Held: true})
		}
		g.forget(f.entry)
	}
}

// forget lets go of what is gone and not on its way to anybody; when most of order is
// forgotten it is made anew.
func (g *giving) forget(n *entry) {
	if !n.item.Gone || n.turn != 0 || n.flying > 0 || n.left {
		return
	}
	n.left = true
	delete(g.entries, n.item.Key)
	if g.left++; g.left > len(g.order)/2 {
		g.order = slices.DeleteFunc(g.order, func(n *entry) bool { return n.left })
		g.left = 0
	}
}
