package realtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// session is one connection that a client keeps; write does the nth write or request
// on it and checks the answer. It never connects anew.
type session interface {
	write(n int) error
	close()
}

// real is a program as its users start it.
type real struct {
	name       string
	needs      []string
	stopSignal string
	processes  int // it has at least so many when it is ready
	// retries: it does not start until its killed process is reaped. After a takeover
	// that is up to the machine's init, which may take its time.
	retries bool
	// prepare makes its files and returns its command and how to connect.
	prepare func(s *stage) (command []string, connect func() (session, error))
}

var programs = []real{
	{name: "nginx", needs: []string{"nginx"}, processes: 3, prepare: nginx},
	{name: "redis", needs: []string{"redis-server"}, processes: 1, prepare: redis},
	{name: "postgresql", needs: []string{"psql", "setpriv"}, stopSignal: "INT", processes: 5, retries: true, prepare: postgres},
	{name: "python", needs: []string{"python3"}, processes: 1, prepare: python},
	{name: "shell", needs: []string{"setsid", "sleep"}, processes: 5, prepare: shell},
}

// begin starts the program; without its tools the test is skipped.
func (r real) begin(t *testing.T) (s *stage, pid int, connect func() (session, error)) {
	t.Helper()
	for _, tool := range r.needs {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: %v", r.name, err)
		}
	}
	s = newStage(t)
	command, connect := r.prepare(s)
	pid = s.run(command, r.stopSignal)
	return s, pid, connect
}

// ready waits until the program answers and has all its processes.
func (r real) ready(s *stage, pid int, connect func() (session, error)) session {
	s.t.Helper()
	var c session
	s.await(r.name+" to answer", func() bool {
		var err error
		if c, err = connect(); err != nil {
			return false
		}
		if err = c.write(1); err != nil {
			c.close()
		}
		return err == nil
	})
	s.t.Cleanup(c.close)
	s.await("all processes of "+r.name, func() bool { return len(tree(s.t, pid)) >= r.processes })
	return c
}

// TestRealPrograms: taken over, killed, stopped.
func TestRealPrograms(t *testing.T) {
	for _, r := range programs {
		t.Run(r.name, func(t *testing.T) {
			s, pid, connect := r.begin(t)
			c := r.ready(s, pid, connect)
			s.takeOver(pid)
			if err := c.write(2); err != nil {
				t.Fatalf("the connection after a takeover: %v", err)
			}

			before := tree(t, pid)
			must(t, syscall.Kill(pid, syscall.SIGKILL))
			s.await("a new process", func() bool {
				p := s.status().Programs[0]
				return p.State == "RUNNING" && p.PID != 0 && p.PID != pid
			})
			checkGone(t, "when it was started again", before)
			again := 0
			s.await("the new process to answer", func() bool {
				again = s.status().Programs[0].PID
				return r.answers(connect) && len(tree(t, again)) >= r.processes
			})
			if p := s.status().Programs[0]; p.PID != again || p.Restarts < 1 || p.Restarts > 1 && !r.retries {
				t.Errorf("one kill, one restart, but: %+v", p)
			}

			before = tree(t, again)
			stop(s)
			checkGone(t, "after stop", before)
		})
	}
}

// answers asks on a new connection, which it closes.
func (r real) answers(connect func() (session, error)) bool {
	c, err := connect()
	if err != nil {
		return false
	}
	defer c.close()
	if p, ok := c.(*psql); ok {
		p.again = true
	}
	return c.write(1) == nil
}

const takeovers = 20

// TestWritesThroughTakeovers: one connection writes while supervisors die; none of
// its writes fails, and all are there.
func TestWritesThroughTakeovers(t *testing.T) {
	for _, r := range programs[1:3] {
		t.Run(r.name, func(t *testing.T) {
			s, pid, connect := r.begin(t)
			c := r.ready(s, pid, connect)
			done, stopped, written := make(chan struct{}), make(chan error, 1), 1
			go func() {
				for {
					select {
					case <-done:
						stopped <- nil
						return
					default:
					}
					if err := c.write(written + 1); err != nil {
						stopped <- err
						return
					}
					written++
				}
			}()
			for range takeovers {
				s.takeOver(pid)
			}
			close(done)
			if err := <-stopped; err != nil {
				t.Fatalf("write %d: %v", written+1, err)
			}
			if n, err := c.(interface{ count() (int, error) }).count(); err != nil || n != written {
				t.Fatalf("%d writes were confirmed, %d are there (%v)", written, n, err)
			}
			t.Logf("%d writes on one connection through %d takeovers", written, takeovers)
		})
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// wire is a connection of a protocol that is spoken here.
type wire struct {
	net.Conn
	in  *bufio.Reader
	ask func(w *wire, n int) error
}

func (w *wire) close() { _ = w.Close() }

func (w *wire) write(n int) error {
	_ = w.SetDeadline(time.Now().Add(patience))
	return w.ask(w, n)
}

func dialer(network, address string, ask func(w *wire, n int) error) func() (session, error) {
	return func() (session, error) {
		c, err := net.Dial(network, address)
		if err != nil {
			return nil, err
		}
		return &wire{c, bufio.NewReader(c), ask}, nil
	}
}

// get asks for the file "page" of a web server and leaves the connection open.
func get(w *wire, _ int) error {
	if _, err := io.WriteString(w, "GET /page HTTP/1.1\r\nHost: here\r\n\r\n"); err != nil {
		return err
	}
	status, err := w.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(status, "HTTP/1.1 200") {
		return fmt.Errorf("%q: %w", status, err)
	}
	for line := ""; line != "\r\n"; {
		if line, err = w.in.ReadString('\n'); err != nil {
			return err
		}
	}
	body, err := w.in.ReadString('\n')
	if err == nil && body != "real\n" {
		err = fmt.Errorf("page: %q", body)
	}
	return err
}

func nginx(s *stage) ([]string, func() (session, error)) {
	port := freePort(s.t)
	must(s.t, os.WriteFile(filepath.Join(s.room, "page"), []byte("real\n"), 0o644))
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	conf := filepath.Join(s.room, "nginx.conf")
	must(s.t, os.WriteFile(conf, fmt.Appendf(nil, `%sworker_processes 2;
pid %[2]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	keepalive_timeout 1h;
	client_body_temp_path %[2]s/b; proxy_temp_path %[2]s/p; fastcgi_temp_path %[2]s/f; uwsgi_temp_path %[2]s/u; scgi_temp_path %[2]s/s;
	server { listen 127.0.0.1:%[3]s; root %[2]s; }
}
`, user, s.room, port), 0o644))
	return []string{"nginx", "-c", conf, "-e", "stderr", "-g", "daemon off;"}, dialer("tcp", "127.0.0.1:"+port, get)
}

func python(s *stage) ([]string, func() (session, error)) {
	port := freePort(s.t)
	must(s.t, os.WriteFile(filepath.Join(s.room, "page"), []byte("real\n"), 0o644))
	return []string{"python3", "-m", "http.server", port, "--bind", "127.0.0.1", "--protocol", "HTTP/1.1", "--directory", s.room},
		dialer("tcp", "127.0.0.1:"+port, get)
}

// counter is a connection to Redis that counts up.
type counter struct{ *wire }

func (c counter) count() (int, error) {
	if _, err := io.WriteString(c, "GET counter\r\n"); err != nil {
		return 0, err
	}
	if _, err := c.in.ReadString('\n'); err != nil { // the length
		return 0, err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

// increment checks that Redis counts to n, so that no earlier write is lost.
func increment(w *wire, n int) error {
	if _, err := io.WriteString(w, "INCR counter\r\n"); err != nil {
		return err
	}
	line, err := w.in.ReadString('\n')
	if err == nil && line != fmt.Sprintf(":%d\r\n", n) {
		err = fmt.Errorf("%q instead of %d", line, n)
	}
	return err
}

func redis(s *stage) ([]string, func() (session, error)) {
	socket := filepath.Join(s.room, "redis.sock")
	connect := dialer("unix", socket, increment)
	return []string{"redis-server", "--port", "0", "--unixsocket", socket, "--dir", s.room, "--save", "", "--daemonize", "no"}, func() (session, error) {
		c, err := connect()
		if err != nil {
			return nil, err
		}
		return counter{c.(*wire)}, nil
	}
}

// psql is one psql with one connection, fed line by line.
type psql struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	again bool // the table is there, with what an earlier process of the server wrote
}

func (p *psql) close() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *psql) ask(sql string) (string, error) {
	if _, err := io.WriteString(p.in, sql+";\n"); err != nil {
		return "", err
	}
	line, err := p.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (p *psql) write(n int) error {
	if p.again {
		_, err := p.ask("SELECT count(*) FROM w")
		return err
	}
	sql := fmt.Sprintf("INSERT INTO w VALUES (%d) RETURNING n", n)
	if n == 1 {
		sql = "CREATE TABLE w (n int PRIMARY KEY); " + sql
	}
	line, err := p.ask(sql)
	if err == nil && line != strconv.Itoa(n) {
		err = fmt.Errorf("%q instead of %d", line, n)
	}
	return err
}

func (p *psql) count() (int, error) {
	line, err := p.ask("SELECT count(*) FROM w")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(line)
}

// postgresTool finds what Debian keeps out of PATH.
func postgresTool(t *testing.T, name string) string {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("PostgreSQL's server is not installed: %v", err)
	}
	return path
}

func postgres(s *stage) ([]string, func() (session, error)) {
	data := filepath.Join(s.room, "data")
	must(s.t, os.Mkdir(data, 0o700))
	var as []string // PostgreSQL refuses root
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			u, err = user.Lookup("nobody")
		}
		must(s.t, err)
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		must(s.t, os.Chown(data, uid, gid))
		must(s.t, os.Chown(s.room, uid, gid))
		as = []string{"setpriv", "--reuid=" + u.Uid, "--regid=" + u.Gid, "--clear-groups"}
	}
	initdb := append(append([]string{}, as...), postgresTool(s.t, "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "-N", "--locale=C")
	cmd := exec.Command(initdb[0], initdb[1:]...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("initdb: %v\n%s", err, out)
	}
	return append(append([]string{}, as...), postgresTool(s.t, "postgres"), "-D", data, "-k", s.room, "-c", "listen_addresses="), func() (session, error) {
		c := exec.Command("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", s.room, "-U", "postgres", "postgres")
		in, err := c.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := c.StdoutPipe()
		if err != nil {
			return nil, err
		}
		return &psql{cmd: c, in: in, out: bufio.NewReader(out)}, c.Start()
	}
}

// nobody is the client of a program that serves nobody.
type nobody struct{}

func (nobody) write(int) error { return nil }
func (nobody) close()          {}

func shell(s *stage) ([]string, func() (session, error)) {
	script := filepath.Join(s.room, "job.sh")
	must(s.t, os.WriteFile(script, []byte("sleep 1000 &\nsetsid sleep 1000 &\n(sleep 1000; echo never) &\nwhile :; do sleep 1; done\n"), 0o644))
	return []string{"sh", script}, func() (session, error) { return nobody{}, nil }
}
