package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/pairdir"
)

// puppetVariable names the socket on which a puppet takes its orders. A puppet is a copy of the test binary that plays the peer
// of the member under test, in a process of its own: the member looks at it with the kernel's eyes, and may end it.
const puppetVariable = "PG_PUPPET"

// order is what a puppet is told, and report what it tells; each order is answered by one report "done".
type order struct {
	Do   string `json:"do"` // claim, listen, dial, send, beat, hush, close, exit
	Conn int    `json:"conn,omitempty"`
	Text string `json:"text,omitempty"`
}

type report struct {
	What  string `json:"what"` // born, done, accepted, line, end
	Conn  int    `json:"conn,omitempty"`
	Text  string `json:"text,omitempty"`
	Token string `json:"token,omitempty"`
	Dir   string `json:"dir,omitempty"`
	PID   int    `json:"pid,omitempty"`
}

// puppeteer is the puppet's side.
type puppeteer struct {
	dir        *pairdir.Dir
	self, peer pairdir.Name
	generation uint64

	mu      sync.Mutex // guards what follows
	control *json.Encoder
	conns   map[int]*ipc.Conn
	mute    map[int]bool // HELLO is not answered there
	quiet   bool         // no HELLO is answered any more
	visits  int
}

// firstVisit: connections that the member opens have higher numbers than those that the puppet opens.
const firstVisit = 1000

// playPuppet serves orders until the control connection ends: a puppet never outlives its test.
func playPuppet(control string) int {
	conn, err := net.Dial("unix", control)
	if err != nil {
		return 1
	}
	p := &puppeteer{control: json.NewEncoder(conn), conns: map[int]*ipc.Conn{}, mute: map[int]bool{}}
	if p.dir, err = pairdir.Open(os.Getenv(pairdir.Variable)); err != nil {
		return 1
	}
	p.self, _ = p.dir.Name("B")
	p.peer, _ = p.dir.Name("A")
	p.report(report{What: "born", PID: os.Getpid(), Token: os.Getenv("PAIRGUARD_REVIVAL"), Dir: os.Getenv(pairdir.Variable)})
	orders := json.NewDecoder(bufio.NewReader(conn))
	for {
		var o order
		if orders.Decode(&o) != nil || o.Do == "exit" {
			return 0
		}
		text, err := p.obey(o)
		if err != nil {
			text = "error: " + err.Error()
		}
		p.report(report{What: "done", Conn: o.Conn, Text: text})
	}
}

func (p *puppeteer) report(r report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.control.Encode(r)
}

func (p *puppeteer) obey(o order) (string, error) {
	switch o.Do {
	case "claim":
		if _, err := p.dir.Claim(p.self); err != nil {
			return "", err
		}
		life, err := p.dir.BeginLife(p.self, p.peer, os.Getenv("PAIRGUARD_REVIVAL"))
		p.generation = life.Generation
		return "", err
	case "listen":
		os.Remove(string(p.self.Address()))
		l, err := ipc.Listen(p.self.Address())
		if err == nil {
			go p.accept(l)
		}
		return "", err
	case "dial":
		c, err := ipc.Dial(context.Background(), p.peer.Address())
		if err == nil {
			p.mu.Lock()
			p.conns[o.Conn], p.mute[o.Conn] = c, true
			p.mu.Unlock()
			go p.read(o.Conn, c)
		}
		return "", err
	case "hush":
		p.mu.Lock()
		p.quiet = true
		p.mu.Unlock()
		return "", nil
	}
	p.mu.Lock()
	c := p.conns[o.Conn]
	p.mu.Unlock()
	if c == nil {
		return "", fmt.Errorf("no connection %d", o.Conn)
	}
	switch o.Do {
	case "send":
		return "", c.Send([]byte(o.Text))
	case "beat":
		go p.beat(o.Conn, c)
		return "", nil
	case "close":
		return "", c.Close()
	}
	return "", fmt.Errorf("no such order: %s", o.Do)
}

func (p *puppeteer) accept(l *ipc.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.visits++
		n := firstVisit + p.visits
		p.conns[n] = c
		p.mu.Unlock()
		p.report(report{What: "accepted", Conn: n})
		go p.read(n, c)
	}
}

// read reports each line, and answers HELLO as a healthy peer does.
func (p *puppeteer) read(n int, c *ipc.Conn) {
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		p.mu.Lock()
		answer := !p.mute[n] && !p.quiet && len(lines.Text()) > 5 && lines.Text()[:6] == "HELLO "
		p.mu.Unlock()
		if answer {
			c.Send([]byte(hello(os.Getpid(), p.generation)))
		}
		p.report(report{What: "line", Conn: n, Text: lines.Text()})
	}
	p.report(report{What: "end", Conn: n})
}

// beat sends heartbeats until the connection ends.
func (p *puppeteer) beat(n int, c *ipc.Conn) {
	for seq := 1; c.Send(fmt.Appendf(nil, "BEAT %d health=ok age_ms=0\n", seq)) == nil; seq++ {
		<-time.After(300 * time.Millisecond)
		p.mu.Lock()
		quiet := p.quiet
		p.mu.Unlock()
		if quiet {
			return
		}
	}
}

func hello(pid int, generation uint64) string {
	return fmt.Sprintf("HELLO 1 self=B peer=A pid=%d gen=%d heartbeat_ms=300 health=ok\n", pid, generation)
}
