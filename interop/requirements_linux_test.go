package interop

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/wire"
)

// requirement is one line of the table in docs/protocol.md §12.
type requirement struct {
	id      string
	section string // of docs/protocol.md; "folder.md N": of docs/folder.md
	text    string
	check   func(*stage)
}

var requirements = []requirement{
	{"meet-1", "§1.3", "listens at its address with mode 0600", checkSocket},
	{"meet-2", "§1.3", "takes its name lock before it listens; the kernel names it as holder", checkLock},
	{"meet-3", "folder.md 2.2", "holds the abstract socket of its name", checkTether},
	{"meet-4", "folder.md 2", "a second one ends with exit code 100 and leaves the first alone", checkSecond},
	{"meet-5", "folder.md 3.2", "its life record says who it is; generations count up", checkLife},
	{"link-1", "§2", "dials the peer and begins with HELLO; BEATs follow the answer, from 1, in time", checkDials},
	{"link-2", "§2", "dials again when its link is lost, and does not take that for a death", checkRedials},
	{"link-3", "§2", "a newer link replaces an older one", checkNewerLink},
	{"line-1", "§3.1", "reads that split and coalesce mean what they mean together", checkCoalesce},
	{"line-2", "§9", "ignores words and keys that it does not know", checkUnknown},
	{"line-3", "§11", "a malformed line changes nothing", checkMalformed},
	{"line-4", "§10", "512 bytes without LF end the connection", checkTooLong},
	{"answer-1", "§5", "answers HELLO with HELLO, also on a second connection while the first is open", checkHello},
	{"answer-2", "§5", "refuses another version, and another pair", checkRefuses},
	{"answer-3", "§8", "refuses a HELLO from a process that does not hold the name", checkHolder},
	{"answer-4", "§5", "answers each LOOK with STATUS", checkLook},
	{"answer-5", "§5", "refuses what begins otherwise", checkStranger},
	{"answer-6", "§10", "connections that say nothing keep nobody waiting", checkSilentVisitors},
	{"bye-1", "§6", "SIGTERM: its leave is stored before BYE leave is sent; it ends with exit code 0", checkLeaves},
	{"bye-2", "§6", "on BYE stop it ends and stores no goodbye", checkStopHeard},
	{"bye-3", "§6", "a stop that is stored ends it at LOOK", checkStopStored},
	{"bye-4", "§6", "a peer that left is not started again; it stays and links again when that one returns", checkPeerLeft},
	{"bye-5", "§6", "a goodbye that was stored and never said counts", checkUnsaid},
	{"bye-6", "§6", "started by a person it ends an earlier stop; started by its peer it obeys it", checkStopAndStart},
	{"revive-1", "§6", "starts the dead peer, once, and tells it and the folder", checkRevives},
	{"revive-2", "§2", "starts nobody while the holder of the name lives, whatever its links do", checkNoDouble},
	{"revive-3", "folder.md 3.5", "starts nobody while the peer is held", checkHold},
	{"revive-4", "§7", "one that says guards_hang=true replaces a peer that is silent; one that does not never ends it", checkHang},
}

func checkSocket(st *stage) {
	st.pair()
	info, err := os.Lstat(st.file("A.sock"))
	if err != nil || info.Mode().Type() != os.ModeSocket || info.Mode().Perm() != 0o600 {
		st.t.Errorf("A.sock: %v, %v", info.Mode(), err)
	}
}

func checkLock(st *stage) {
	st.pair()
	held, err := st.folder.Holder(st.a)
	if a := st.settled("A", "B"); err != nil || !held.Held || held.PID != a.PID {
		st.t.Errorf("holder of A: %+v, %v; its process is %d", held, err, a.PID)
	}
}

func checkTether(st *stage) {
	st.pair()
	// Without the lock file the abstract socket alone says who holds the name.
	if err := os.Remove(st.file("A.lock")); err != nil {
		st.t.Fatal(err)
	}
	held, err := st.folder.Holder(st.a)
	if a := st.one("A"); err != nil || !held.Held || held.PID != a.PID {
		st.t.Errorf("holder of A without its lock file: %+v, %v; its process is %d", held, err, a.PID)
	}
}

func checkSecond(st *stage) {
	p, _, _ := st.pair()
	a := st.settled("A", "B")
	code, out := st.exitCode("A")
	if code != 100 {
		st.t.Errorf("the second one ended with %d: %s", code, out)
	}
	if s := p.look(); s.PID != a.PID || st.one("A") != a {
		st.t.Errorf("the first one: %+v", s)
	}
}

func checkLife(st *stage) {
	p, from, _ := st.pair()
	_ = from
	first := p.look()
	life := st.record("A.life")
	if life["name"] != "A" || life["peer"] != "B" || fmt.Sprint(life["generation"]) != fmt.Sprint(first.Generation) || first.Generation == 0 {
		st.t.Errorf("life: %v, status: %+v", life, first)
	}
	parsed, found, err := st.folder.ReadLife(st.a)
	if a := st.one("A"); err != nil || !found || parsed.Process != a || parsed.Revived {
		st.t.Errorf("life: %+v %v %v; the process is %v", parsed, found, err, a)
	}
	st.signal(st.one("A"), syscall.SIGKILL)
	st.away()
	st.start("A")
	next := p.visitor()
	if h := next.hello(); h.Generation != first.Generation+1 {
		st.t.Errorf("generation %d follows %d", h.Generation, first.Generation)
	}
}

func checkDials(st *stage) {
	p := st.peer()
	st.start("A")
	from := p.visitor()
	h := from.hello()
	if a := st.settled("A", "B"); h.PID != a.PID || h.Generation != 1 {
		st.t.Errorf("HELLO says %+v; the process is %d", h, a.PID)
	}
	to := p.dial()
	to.say(hello(p.pid, 1))
	to.hello()
	p.tell(order{Do: "beat", Conn: to.n})
	last := time.Now()
	for seq := uint64(1); seq <= 3; seq++ {
		line := from.want("BEAT")
		m, err := wire.Parse([]byte(line))
		beat, ok := m.(wire.Beat)
		if err != nil || !ok || beat.Seq != seq || !beat.Healthy {
			st.t.Errorf("%q: %v; BEAT %d was due", line, err, seq)
		}
		if gap := time.Since(last); seq > 1 && gap > 2*h.Heartbeat+slack {
			st.t.Errorf("BEAT %d came after %v", seq, gap)
		}
		last = time.Now()
	}
}

func checkRedials(st *stage) {
	p, from, to := st.pair()
	p.tell(order{Do: "close", Conn: from.n})
	again := p.visitor()
	again.hello()
	again.want("BEAT")
	p.tell(order{Do: "close", Conn: to.n})
	p.tell(order{Do: "close", Conn: again.n})
	p.meet()
	st.nobody(time.Second)
}

func checkNewerLink(st *stage) {
	p, _, to := st.pair()
	newer := p.dial()
	newer.say(hello(p.pid, 1))
	newer.hello()
	p.tell(order{Do: "beat", Conn: newer.n})
	to.end()
	p.sees()
}

func checkCoalesce(st *stage) {
	p := st.peer()
	st.start("A")
	p.visitor().hello()
	to := p.dial()
	for _, b := range hello(p.pid, 1) {
		to.say(string(b))
	}
	to.hello()
	p.tell(order{Do: "beat", Conn: to.n})
	asked := p.dial()
	asked.say("LOOK\nLOO")
	asked.status()
	asked.say("K\r\nLOOK\n")
	asked.status()
	asked.status()
}

func checkUnknown(st *stage) {
	p := st.peer()
	st.start("A")
	p.visitor().hello()
	to := p.dial()
	to.say(strings.Replace(hello(p.pid, 1), "self=", "colour=blue colour=100% x== self=", 1))
	to.hello()
	p.tell(order{Do: "beat", Conn: to.n})
	to.say("SING a=b\nBYE swap reason=upgrade\nLOOK what=holds\n")
	p.sees()
	st.open(to)
}

func checkMalformed(st *stage) {
	p, _, to := st.pair()
	to.say("BEAT 17  health=ok age_ms=0\nBYE\nBYE leave reason=100%\nBEAT 18 health=ok health=ok\n\n")
	p.sees()
	st.open(to)
	first := p.dial()
	first.say("HELLO 1 self=B pid=123 gen=4 heartbeat_ms=1000 health=ok\n")
	first.end()
}

func checkTooLong(st *stage) {
	p, _, to := st.pair()
	to.say("SING " + strings.Repeat("x", 600))
	to.end()
	first := p.dial()
	first.say("HELLO " + strings.Repeat("x", 600))
	first.end()
	p.look()
}

func checkHello(st *stage) {
	p, _, to := st.pair()
	probe := p.dial()
	probe.say(hello(p.pid, 1))
	h := probe.hello()
	if a := st.one("A"); h.PID != a.PID {
		st.t.Errorf("HELLO says %+v", h)
	}
	_ = to
}

func checkRefuses(st *stage) {
	p, _, to := st.pair()
	for _, line := range []string{
		"HELLO 2 self=B colour=blue\n",
		strings.Replace(hello(p.pid, 1), "self=B", "self=C", 1),
		strings.Replace(hello(p.pid, 1), "peer=A", "peer=C", 1),
	} {
		c := p.dial()
		c.say(line)
		c.refused()
	}
	st.open(to)
}

func checkHolder(st *stage) {
	p, _, to := st.pair()
	other := st.puppet() // of the same user, and without the name
	c := other.dial()
	c.say(hello(other.pid, 1))
	c.refused()
	st.open(to)
	p.sees()
	other.die()
}

func checkLook(st *stage) {
	p, _, _ := st.pair()
	p.sees()
	c := p.dial()
	for range 3 {
		c.say("LOOK\n")
		s := c.status()
		if a := st.one("A"); s.Version != 1 || s.Self != "A" || s.PID != a.PID || s.Peer != "B" || s.PeerPID != p.pid || s.Plain || s.Generation != 1 {
			st.t.Errorf("status: %+v", s)
		}
	}
}

func checkStranger(st *stage) {
	p, _, to := st.pair()
	c := p.dial()
	c.say("ping")
	p.try(order{Do: "send", Conn: c.n, Text: "GET / HTTP/1.1\r\n"}) // it may have been refused by then
	c.refused()
	st.open(to)
}

func checkSilentVisitors(st *stage) {
	p, _, _ := st.pair()
	for range 20 {
		p.dial()
	}
	begin := time.Now()
	p.look()
	if took := time.Since(begin); took > 3*time.Second {
		st.t.Errorf("the answer took %v", took)
	}
}

func checkLeaves(st *stage) {
	p, from, to := st.pair()
	code := st.exit("A", func() { st.signal(st.one("A"), syscall.SIGTERM) })
	if line := from.want("BYE"); !strings.HasPrefix(line, "BYE leave") {
		st.t.Errorf("said %q", line)
	}
	if !st.exists("A.leave") {
		st.t.Error("BYE leave was sent and no leave is stored")
	}
	if lines := to.end(); len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "BYE leave") {
		st.t.Errorf("on our connection it said %q", lines)
	}
	if c := <-code; c != 0 {
		st.t.Errorf("ended with %d", c)
	}
	leave, found, err := st.folder.ReadLeave(st.a)
	if err != nil || !found || leave.Damaged != nil || leave.Kind != "leave" || leave.Name != "A" || leave.Generation != 1 {
		st.t.Errorf("leave: %+v %v %v", leave, found, err)
	}
	_ = p
}

func checkStopHeard(st *stage) {
	_, _, to := st.pair()
	to.say("BYE stop reason=operator\n")
	st.away()
	if _, found, _ := st.folder.ReadLeave(st.a); found || st.exists("stop.A+B") {
		st.t.Error("it stored a goodbye")
	}
}

func checkStopStored(st *stage) {
	p, _, _ := st.pair()
	if err := st.folder.StoreStop(st.a, st.b, pairdir.Goodbye{Name: "B", Peer: "A", Reason: "operator"}); err != nil {
		st.t.Fatal(err)
	}
	p.dial().say("LOOK\n")
	st.away()
	if !st.exists("stop.A+B") {
		st.t.Error("the stop is gone")
	}
}

func checkPeerLeft(st *stage) {
	p, _, to := st.pair()
	if err := st.folder.StoreLeave(st.b, pairdir.Goodbye{Name: "B", Peer: "A"}); err != nil {
		st.t.Fatal(err)
	}
	to.say("BYE leave reason=sigterm\n")
	p.die()
	st.nobody(4 * time.Second)
	a := st.settled("A")
	again := st.peer()
	again.meet()
	if st.one("A") != a {
		st.t.Error("the member is another one")
	}
}

func checkUnsaid(st *stage) {
	p, _, _ := st.pair()
	if err := st.folder.StoreLeave(st.b, pairdir.Goodbye{Name: "B", Peer: "A"}); err != nil {
		st.t.Fatal(err)
	}
	p.die()
	st.nobody(4 * time.Second)
	st.settled("A")
}

func checkStopAndStart(st *stage) {
	stop := func() {
		if err := st.folder.StoreStop(st.a, st.b, pairdir.Goodbye{Name: "B", Peer: "A"}); err != nil {
			st.t.Fatal(err)
		}
	}
	stop()
	p, _, _ := st.pair()
	if st.exists("stop.A+B") {
		st.t.Error("a person started it, and the stop is still there")
	}
	st.signal(st.one("A"), syscall.SIGKILL)
	st.away()
	// As the peer does it: the token stands in the folder and in the environment.
	by := st.one("B")
	if err := st.folder.StoreSpawn(st.a, pairdir.Spawn{Token: "token-of-the-test", By: by}); err != nil {
		st.t.Fatal(err)
	}
	stop()
	// Nothing but A may carry the token: whoever does is taken for what was started.
	person := st.env
	st.env = append(slices.Clone(person), "PAIRGUARD_REVIVAL=token-of-the-test")
	if code, out := st.exitCode("A"); code != 0 {
		st.t.Errorf("revived into a stop it ended with %d: %s", code, out)
	}
	st.env = person
	if !st.exists("stop.A+B") {
		st.t.Error("revived, it took the stop back")
	}
	_ = p
}

func checkRevives(st *stage) {
	p, _, _ := st.pair()
	begin := time.Now()
	p.die()
	next := st.birth()
	if took := time.Since(begin); took > revivalTime {
		st.t.Errorf("the first revival took %v", took)
	}
	next.serve()
	spawn, found, err := st.folder.ReadSpawn(st.b)
	if err != nil || !found || spawn.Token == "" || spawn.Token != next.token || next.dir != st.dir() {
		st.t.Errorf("spawn %+v %v %v; it was told token %q, folder %q", spawn, found, err, next.token, next.dir)
	}
	st.eventually("the record names the process", patience, func() bool {
		spawn, _, _ := st.folder.ReadSpawn(st.b)
		return spawn.Process != nil && spawn.Process.PID == next.pid && spawn.By == st.one("A")
	})
	next.meet()
	next.sees()
	if s := next.look(); s.Revived != 1 {
		st.t.Errorf("status: %+v", s)
	}
	st.nobody(time.Second)
	// Not yet ten seconds old: the next one waits a little, and never longer than the backoff allows.
	begin = time.Now()
	next.die()
	third := st.birth()
	if took := time.Since(begin); took > revivalTime {
		st.t.Errorf("the second revival took %v", took)
	}
	third.serve()
	third.meet()
}

func checkNoDouble(st *stage) {
	p, from, to := st.pair()
	os.Remove(st.file("B.sock"))
	p.tell(order{Do: "close", Conn: to.n})
	p.tell(order{Do: "close", Conn: from.n})
	st.nobody(1500 * time.Millisecond)
	p.tell(order{Do: "listen"})
	p.meet()
	st.settled("A", "B")
}

func checkHold(st *stage) {
	p, _, _ := st.pair()
	if err := st.folder.StoreHold(st.b, time.Hour, "test"); err != nil {
		st.t.Fatal(err)
	}
	if s := p.look(); s.Held < 59*time.Minute || s.Held > time.Hour {
		st.eventually("the status says so", patience, func() bool { return p.look().Held > 59*time.Minute })
	}
	p.die()
	st.nobody(3 * time.Second)
	if err := st.folder.ClearHold(st.b); err != nil {
		st.t.Fatal(err)
	}
	operator := st.puppetOf("C")
	operator.dial().say("LOOK\n")
	st.birth().serve()
	operator.die()
}

func checkHang(st *stage) {
	p, _, _ := st.pair()
	guards := p.look().GuardsHang
	p.tell(order{Do: "hush"})
	if !guards {
		st.nobody(8 * time.Second)
		p.look()
		return
	}
	next := st.birth()
	if h, err := proc.Open(p.pid); err == nil {
		select {
		case <-h.Done():
		default:
			st.t.Error("a new peer was started while the old one lived")
		}
		h.Close()
	}
	next.serve()
	next.meet()
}

// open: the link still is one; the member has not closed it.
func (st *stage) open(c *connection) {
	st.t.Helper()
	select {
	case <-c.ended:
		st.t.Error("the member closed the link")
	default:
	}
}
