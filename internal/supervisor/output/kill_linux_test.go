package output

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// play is what the test binary does as one of the processes of a test.
func play(role string) int {
	name, argument, _ := strings.Cut(role, " ")
	var err error
	switch name {
	case "write":
		err = playWriter(argument)
	case "pump":
		err = playPump(argument)
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		return 1
	}
	return 0
}

// playWriter writes numbered lines to its output, each with a call of its own, at a rate: "rate count".
func playWriter(argument string) error {
	var rate, count int
	if _, err := fmt.Sscan(argument, &rate, &count); err != nil {
		return err
	}
	begin := time.Now()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for n := 0; n < count; {
		due := min(count, int(time.Since(begin)*time.Duration(rate)/time.Second))
		for ; n < due; n++ {
			if _, err := os.Stdout.WriteString(line(n)); err != nil {
				return err
			}
		}
		<-ticker.C
	}
	return nil
}

// playPump pumps descriptor 3 into descriptor 4 until it is killed; each new log goes through the socket 5, and is
// used when a byte comes back. "calls after size keep path": it kills itself at that call.
func playPump(argument string) error {
	var calls int
	var after bool
	var spec LogSpec
	if _, err := fmt.Sscan(argument, &calls, &after, &spec.Size, &spec.Keep, &spec.Path); err != nil {
		return err
	}
	socket := os.NewFile(5, "standby")
	die := func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	p, err := newPump(&mortal{kernel: kernel{}, left: calls, after: after, die: die})
	if err != nil {
		return err
	}
	_, err = p.Add(os.NewFile(3, "pipe"), os.NewFile(4, "log"), spec, Hooks{Handover: func(log *os.File) error {
		if err := unix.Sendmsg(int(socket.Fd()), []byte{1}, unix.UnixRights(int(log.Fd())), nil, 0); err != nil {
			return err
		}
		_, err := socket.Read(make([]byte, 1))
		return err
	}})
	if err != nil {
		return err
	}
	select {}
}

// run starts a pump in a process of its own, with what the keeper has, and kills it after a time unless it kills itself before.
func (k *keeper) run(spec LogSpec, calls int, after bool, lives time.Duration) {
	k.t.Helper()
	pair := must1(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))(k.t)
	theirs := os.NewFile(uintptr(pair[1]), "theirs")
	ours := os.NewFile(uintptr(pair[0]), "ours")
	conn := must1(net.FileConn(ours))(k.t).(*net.UnixConn)
	ours.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+fmt.Sprintf("=pump %d %v %d %d %s", calls, after, spec.Size, spec.Keep, spec.Path))
	cmd.Stderr = os.Stderr
	pipe, log := k.give()
	cmd.ExtraFiles = []*os.File{pipe, log, theirs}
	must(k.t, cmd.Start())
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	timer := time.AfterFunc(lives, func() { _ = cmd.Process.Kill() })
	k.receive(conn)
	_ = cmd.Process.Kill()
	timer.Stop()
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() >= 0 {
		k.t.Fatalf("a pump ended by itself: %v", err)
	}
}

// receive takes new logs and acknowledges them until the other end is gone.
func (k *keeper) receive(conn *net.UnixConn) {
	k.t.Helper()
	defer conn.Close()
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(data, control)
		if err != nil || n == 0 {
			return
		}
		messages := must1(unix.ParseSocketControlMessage(control[:oobn]))(k.t)
		for _, m := range messages {
			for _, fd := range must1(unix.ParseUnixRights(&m))(k.t) {
				f := os.NewFile(uintptr(fd), "log")
				k.take(f)
				f.Close()
			}
		}
		_, _ = conn.Write(data)
	}
}

// TestKill9 has a program that writes 50,000 lines a second while one pump after the other is killed, half of them
// at a random time, half of them at a random call.
func TestKill9(t *testing.T) {
	kills, rate, count := 250, 50_000, 400_000
	if testing.Short() {
		kills, count = 60, 100_000
	}
	k, spec, writer := newKeeper(t, LogSpec{Size: 200_000, Keep: 1000})
	defer k.close()
	program := exec.Command("/proc/self/exe")
	program.Env = append(os.Environ(), roleVariable+fmt.Sprintf("=write %d %d", rate, count))
	program.Stdout, program.Stderr = writer, os.Stderr
	must(t, program.Start())
	defer program.Process.Kill()
	writer.Close()

	followed := newCounter()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var done sync.WaitGroup
	done.Go(func() {
		if err := Follow(ctx, followed, spec.Path, Position{}); err != nil {
			t.Error(err)
		}
	})
	random := rand.New(rand.NewPCG(1, 2))
	died := 0
	for ; died < kills; died++ {
		calls := 1 << 30
		if died%2 == 0 {
			calls = random.IntN(200)
		}
		k.run(spec, calls, random.IntN(2) == 0, time.Duration(20+random.IntN(30))*time.Millisecond)
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	k.pumpUntil(spec, ended)
	cancel()
	done.Wait()

	var b bytes.Buffer
	must1(Copy(&b, spec, true))(t)
	wantLines(t, b.String(), 0, count)
	rotations := len(older(t, spec.Path))
	if followed.lines != count || followed.err != nil {
		t.Errorf("the follower saw %d lines of %d: %v", followed.lines, count, followed.err)
	}
	if !testing.Short() && rotations < 20 {
		t.Errorf("%d rotations only", rotations)
	}
	t.Logf("%d kills, %d lines, %d rotations", died, count, rotations)
}

// pumpUntil pumps in this process until the program has ended and all of its output is in the log.
func (k *keeper) pumpUntil(spec LogSpec, ended <-chan error) {
	k.t.Helper()
	p := must1(NewPump())(k.t)
	defer p.Close()
	pipe, log := k.give()
	s := must1(p.Add(pipe, log, spec, Hooks{}))(k.t)
	select {
	case err := <-ended:
		must(k.t, err)
	case <-within(k.t).Done():
		k.t.Fatal("the program does not end")
	}
	must(k.t, s.Drained(within(k.t)))
}

// counter checks the numbered lines that are written to it.
type counter struct {
	lines int
	rest  []byte
	err   error
}

func newCounter() *counter { return &counter{} }

func (c *counter) Write(b []byte) (int, error) {
	c.rest = append(c.rest, b...)
	scanner := bufio.NewScanner(bytes.NewReader(c.rest))
	used := 0
	for scanner.Scan() && used+len(scanner.Bytes()) < len(c.rest) {
		if text := scanner.Text() + "\n"; text != line(c.lines) && c.err == nil {
			c.err = fmt.Errorf("line %d is %q", c.lines, text)
		}
		used += len(scanner.Bytes()) + 1
		c.lines++
	}
	c.rest = bytes.Clone(c.rest[used:])
	return len(b), nil
}
