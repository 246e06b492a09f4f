package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/wire"
)

// stage is a scene with the member under test, called A, and puppets that play its peer B. The member's COMMAND starts a puppet.
type stage struct {
	*scene
	control net.Listener
	born    chan *puppet
	folder  *pairdir.Dir
	a, b    pairdir.Name
}

// newStage prepares the member, whose command line has {self}, {peer} and {command} for its parameters.
func newStage(t *testing.T, client []string) *stage {
	t.Helper()
	st := &stage{scene: newScene(t), born: make(chan *puppet, 100)}
	var err error
	if st.control, err = net.Listen("unix", filepath.Join(st.root, "c")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.control.Close() })
	go st.admit()
	if st.folder, err = pairdir.Open(st.dir()); err != nil {
		t.Fatal(err)
	}
	st.a, _ = st.folder.Name("A")
	st.b, _ = st.folder.Name("B")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	st.env = append(st.env, puppetVariable+"="+filepath.Join(st.root, "c"))
	st.play("B", self)
	// The member itself is no puppet.
	words := []string{"env", "-u", puppetVariable}
	for _, word := range client {
		words = append(words, strings.NewReplacer("{self}", "A", "{peer}", "B", "{command}", st.script("B")).Replace(word))
	}
	st.play("A", words...)
	text, _ := os.ReadFile(st.script("B"))
	st.write("B", strings.Replace(string(text), "exec ", puppetVariable+"="+filepath.Join(st.root, "c")+" exec ", 1))
	return st
}

func (st *stage) admit() {
	for {
		c, err := st.control.Accept()
		if err != nil {
			return
		}
		p := &puppet{st: st, orders: json.NewEncoder(c), done: make(chan string, 1), gone: make(chan struct{}),
			accepted: make(chan *connection, 100), conns: map[int]*connection{}}
		go p.listen(c)
	}
}

// puppet is the test's hand on one puppet.
type puppet struct {
	st       *stage
	pid      int
	token    string
	dir      string
	orders   *json.Encoder
	done     chan string
	gone     chan struct{} // closed when its process has ended
	accepted chan *connection

	mu    sync.Mutex // guards what follows
	conns map[int]*connection
	next  int
}

// connection is one connection of a puppet.
type connection struct {
	p     *puppet
	n     int
	lines chan string
	ended chan struct{}
}

func (p *puppet) connection(n int) *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[n]
	if c == nil {
		c = &connection{p: p, n: n, lines: make(chan string, 10000), ended: make(chan struct{})}
		p.conns[n] = c
	}
	return c
}

func (p *puppet) listen(c net.Conn) {
	defer close(p.gone)
	defer c.Close()
	for reports := json.NewDecoder(c); ; {
		var r report
		if reports.Decode(&r) != nil {
			return
		}
		switch r.What {
		case "born":
			p.pid, p.token, p.dir = r.PID, r.Token, r.Dir
			p.st.born <- p
		case "done":
			p.done <- r.Text
		case "accepted":
			p.accepted <- p.connection(r.Conn)
		case "line":
			p.connection(r.Conn).lines <- r.Text
		case "end":
			close(p.connection(r.Conn).ended)
		}
	}
}

// birth waits for the next puppet, whoever started it.
func (st *stage) birth() *puppet {
	st.t.Helper()
	select {
	case p := <-st.born:
		return p
	case <-time.After(patience):
		st.t.Fatal("nobody started the peer")
		return nil
	}
}

// nobody is started as B for that long.
func (st *stage) nobody(span time.Duration) {
	st.t.Helper()
	select {
	case p := <-st.born:
		st.t.Fatalf("the peer was started: process %d", p.pid)
	case <-time.After(span):
	}
}

// puppet starts a peer as a person would; it holds no name yet.
func (st *stage) puppet() *puppet {
	st.t.Helper()
	st.start("B")
	return st.birth()
}

// peer starts a peer that holds its name and listens.
func (st *stage) peer() *puppet {
	st.t.Helper()
	p := st.puppet()
	p.serve()
	return p
}

func (p *puppet) serve() {
	p.st.t.Helper()
	p.tell(order{Do: "claim"})
	p.tell(order{Do: "listen"})
}

// pair starts a peer and the member, and links them both ways: from is the member's link to the peer, to the peer's to the member.
func (st *stage) pair() (p *puppet, from, to *connection) {
	st.t.Helper()
	p = st.peer()
	st.start("A")
	from, to = p.meet()
	return p, from, to
}

// meet links the puppet and the member both ways, and keeps the puppet's heartbeat going.
func (p *puppet) meet() (from, to *connection) {
	p.st.t.Helper()
	to = p.dial()
	to.say(hello(p.pid, 1))
	to.want("HELLO")
	p.tell(order{Do: "beat", Conn: to.n})
	for { // it may be a probe that comes first
		from = p.visitor()
		from.want("HELLO")
		if from.beats() {
			return from, to
		}
	}
}

// beats reports whether a heartbeat comes, and not the end of the connection.
func (c *connection) beats() bool {
	c.p.st.t.Helper()
	select {
	case line := <-c.lines:
		if !strings.HasPrefix(line, "BEAT ") {
			c.p.st.t.Fatalf("%q came instead of BEAT", line)
		}
		return true
	case <-c.ended:
		return false
	case <-time.After(patience):
		c.p.st.t.Fatal("no BEAT came")
		return false
	}
}

func (p *puppet) tell(o order) {
	p.st.t.Helper()
	if err := p.try(o); err != "" {
		p.st.t.Fatalf("puppet %d: %s: %s", p.pid, o.Do, err)
	}
}

func (p *puppet) try(o order) string {
	p.orders.Encode(o)
	select {
	case text := <-p.done:
		return text
	case <-p.gone:
		return "the puppet is dead"
	case <-time.After(patience):
		return "no answer"
	}
}

// die ends the puppet's process, unannounced.
func (p *puppet) die() {
	p.st.t.Helper()
	p.orders.Encode(order{Do: "exit"})
	p.ended()
}

// ended waits until the puppet's process has ended.
func (p *puppet) ended() {
	p.st.t.Helper()
	select {
	case <-p.gone:
	case <-time.After(patience):
		p.st.t.Fatalf("the peer, process %d, is still there", p.pid)
	}
}

// visitor waits for the next connection that the member opens.
func (p *puppet) visitor() *connection {
	p.st.t.Helper()
	select {
	case c := <-p.accepted:
		return c
	case <-time.After(patience):
		p.st.t.Fatal("the member does not dial its peer")
		return nil
	}
}

// dial connects to the member, which may not listen yet.
func (p *puppet) dial() *connection {
	p.st.t.Helper()
	p.next++
	c := p.connection(p.next)
	p.st.eventually("the member listens", patience, func() bool { return p.try(order{Do: "dial", Conn: c.n}) == "" })
	return c
}

func (c *connection) say(text string) {
	c.p.st.t.Helper()
	c.p.tell(order{Do: "send", Conn: c.n, Text: text})
}

// want waits for a line with that first word, past heartbeats, and returns it. Any other line is an error.
func (c *connection) want(word string) string {
	c.p.st.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line := <-c.lines:
			first, _, _ := strings.Cut(line, " ")
			if first == word {
				return line
			}
			if first != "BEAT" {
				c.p.st.t.Fatalf("%q came instead of %s", line, word)
			}
		case <-deadline:
			c.p.st.t.Fatalf("no %s came", word)
		}
	}
}

// hello waits for the member's HELLO, which must be a good line and true.
func (c *connection) hello() wire.Hello {
	c.p.st.t.Helper()
	line := c.want("HELLO")
	m, err := wire.Parse([]byte(line))
	h, ok := m.(wire.Hello)
	if err != nil || !ok {
		c.p.st.t.Fatalf("%q: %v", line, err)
	}
	if h.Version != 1 || h.Self != "A" || h.Peer != "B" || h.Heartbeat <= 0 || !h.Healthy {
		c.p.st.t.Errorf("HELLO says %+v", h)
	}
	return h
}

// end waits until the member closes the connection; lines before that are returned.
func (c *connection) end() (lines []string) {
	c.p.st.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.p.st.t.Fatal("the member does not close the connection")
	}
	for {
		select {
		case line := <-c.lines:
			lines = append(lines, line)
		default:
			return lines
		}
	}
}

// refused: a REFUSED comes, and the end.
func (c *connection) refused() {
	c.p.st.t.Helper()
	lines := c.end()
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "REFUSED") {
		c.p.st.t.Errorf("%q came instead of one REFUSED", lines)
		return
	}
	if _, err := wire.Parse([]byte(lines[0])); err != nil {
		c.p.st.t.Errorf("%q: %v", lines[0], err)
	}
}

// look asks the member for its status on a fresh connection.
func (p *puppet) look() wire.Status {
	p.st.t.Helper()
	c := p.dial()
	c.say("LOOK\n")
	return c.status()
}

// sees waits until the member says that this puppet is its peer.
func (p *puppet) sees() {
	p.st.t.Helper()
	p.st.eventually(fmt.Sprintf("its status names process %d as the peer", p.pid), patience, func() bool { return p.look().PeerPID == p.pid })
}

func (c *connection) status() wire.Status {
	c.p.st.t.Helper()
	line := c.want("STATUS")
	m, err := wire.Parse([]byte(line))
	s, ok := m.(wire.Status)
	if err != nil || !ok {
		c.p.st.t.Fatalf("%q: %v", line, err)
	}
	return s
}

// away waits until the member's process has ended.
func (st *stage) away() {
	st.t.Helper()
	st.eventually("the member has ended", patience, func() bool { return len(st.all("A")) == 0 })
}

// file is the path of a file in the folder.
func (st *stage) file(name string) string { return filepath.Join(st.dir(), name) }

func (st *stage) exists(name string) bool {
	_, err := os.Lstat(st.file(name))
	return err == nil
}

// record reads a record that has to be there and to have the version.
func (st *stage) record(name string) map[string]any {
	st.t.Helper()
	b, err := os.ReadFile(st.file(name))
	if err != nil {
		st.t.Fatal(err)
	}
	var r map[string]any
	if err := json.Unmarshal(b, &r); err != nil {
		st.t.Fatalf("%s: %v\n%s", name, err, b)
	}
	if fmt.Sprint(r["version"]) != "1" {
		st.t.Errorf("%s has version %v", name, r["version"])
	}
	return r
}
