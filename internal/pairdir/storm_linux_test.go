package pairdir

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

func init() { roles["storm"] = playStorm }

// playStorm DIR NAME MARK: claims and releases until the input ends, and reports
// whenever somebody else is holder at the same time: the mark, an abstract socket
// that the package knows nothing of, can be had once.
func playStorm(args []string) {
	d, err := Open(args[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	n, _ := d.Name(args[1])
	ended := make(chan struct{})
	go func() { waitForEnd(); close(ended) }()
	held := 0
	for {
		select {
		case <-ended:
			fmt.Println("held", held > 0)
			return
		default:
		}
		c, err := d.Claim(n)
		var taken *TakenError
		if errors.As(err, &taken) {
			continue
		}
		if err != nil {
			fmt.Println("unexpected:", err)
			return
		}
		held++
		mark, err := net.ListenUnix("unix", &net.UnixAddr{Name: args[2], Net: "unix"})
		if err != nil {
			fmt.Println("two holders:", err, c.Notes())
			return
		}
		_, _ = c.Check()
		_ = mark.Close()
		_ = c.Release()
	}
}

func TestStormOfClaimsAndRemovals(t *testing.T) {
	d := testDir(t)
	mark := "@pairdir-test/" + d.Path()
	kids := make([]*kid, 6)
	for i := range kids {
		kids[i] = start(t, nil, "storm", d.Path(), "procA", mark)
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := range 700 {
		<-tick.C
		if i%20 == 0 {
			_ = os.RemoveAll(d.Path())
		}
		_ = os.Remove(d.Path() + "/procA.lock")
	}
	held := 0
	for _, k := range kids {
		_ = k.stdin.Close()
		switch l := k.line(); l {
		case "held true":
			held++
		case "held false":
		default:
			t.Error(l)
		}
	}
	if held == 0 {
		t.Error("nobody ever became holder")
	}
}

// The lock file is removed after it was locked and before the claim is complete:
// a claim never rests on a file that nobody else can find.
func TestLockFileRemovedWhileClaiming(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	k := start(t, nil, "squat", tetherName(d.Path(), n.Key()), strconv.Itoa(os.Getuid()), "bind")
	k.want("keeps the claim waiting", "squats <nil>")
	done := make(chan error, 1)
	go func() {
		c, err := d.Claim(n)
		if err == nil {
			defer c.Release()
			if !c.lock.inPlace() {
				err = errors.New("held by a lock file that is gone")
			}
		}
		done <- err
	}()
	for deadline := time.Now().Add(patience); os.Remove(d.file(n, ".lock")) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("no lock file is made")
		}
		runtime.Gosched()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
