//go:build linux

package pairguard_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pairguard/pairguard"
)

// procB is the executable of the other process; in these examples the test binary
// plays it (see scene).
var procB = os.Args[0]

// scene gives an example a folder of its own, makes what it starts play a member
// named B or procB, and afterwards ends the pair.
func scene(role string) (dir string, end func()) {
	scratch, err := os.MkdirTemp("", "pg")
	if err != nil {
		panic(err)
	}
	dir = filepath.Join(scratch, "d")
	os.Setenv("PAIRGUARD_TEST_ROLE", role)
	os.Setenv("PAIRGUARD_DIR", dir)
	return dir, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		f, err := pairguard.OpenFolder(dir)
		if err != nil {
			panic(err)
		}
		if _, err := f.Stop(ctx, 5*time.Second); err != nil {
			panic(err)
		}
		os.Unsetenv("PAIRGUARD_TEST_ROLE")
		os.Unsetenv("PAIRGUARD_DIR")
		os.RemoveAll(scratch)
	}
}

// awaitUp returns when the member named self has a peer that speaks.
func awaitUp(self string) {
	f, err := pairguard.OpenFolder("")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_ = f.Follow(ctx, func(e pairguard.Event) {
		if e.Self == self && e.Kind == pairguard.PeerUp {
			cancel()
		}
	})
	if ctx.Err() != context.Canceled {
		panic(self + " has no peer")
	}
}

// The three parameters of the Qt class. The other program says the same with the
// names exchanged.
func ExampleGuard() {
	_, end := scene("member procB procA")
	defer end()

	ctx, leave := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- pairguard.Guard(ctx, "procA", "procB", procB) }()

	awaitUp("procA")
	leave() // this process goes, procB stays and does not bring it back
	fmt.Println("Guard returned", <-ended)
	// Output: Guard returned <nil>
}

// A peer that is killed is back at once.
func ExampleMember_Run() {
	_, end := scene("member procB procA")
	defer end()

	var m *pairguard.Member
	ups := 0
	m, err := pairguard.New(pairguard.Config{
		Self: "procA", Peer: "procB", Command: []string{procB},
		OnEvent: func(e pairguard.Event) {
			switch e.Kind {
			case pairguard.PeerDead:
				fmt.Println("procB is dead:", e.Reason)
			case pairguard.PeerUp:
				fmt.Println("procB is up, generation", e.Generation)
				if ups++; ups == 1 {
					process, _ := os.FindProcess(e.PeerPID)
					process.Kill()
				} else {
					m.Stop("seen enough")
				}
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("Run returned", m.Run(context.Background()))
	// Output:
	// procB is up, generation 1
	// procB is dead: signal KILL
	// procB is up, generation 2
	// Run returned <nil>
}

// Heartbeats that come from the loop that does the work: when it hangs, the peer
// replaces this process.
func ExampleMember_Beat() {
	_, end := scene("member procB procA")
	defer end()

	m, err := pairguard.New(pairguard.Config{Self: "procA", Peer: "procB", Command: []string{procB}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(context.Background()) }()

	jobs := []string{"first", "second", "third"}
	for _, job := range jobs {
		fmt.Println("done:", job) // the work
		m.Beat()
	}
	m.Stop("all work is done")
	fmt.Println("Run returned", <-ended)
	// Output:
	// done: first
	// done: second
	// done: third
	// Run returned <nil>
}

// A part that may be silent for longer than the heartbeat, beside the main loop.
func ExampleMember_Part() {
	_, end := scene("member procB procA")
	defer end()

	m, err := pairguard.New(pairguard.Config{Self: "procA", Peer: "procB", Command: []string{procB}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(context.Background()) }()

	report := m.Part("report", time.Minute) // a round of it takes up to a minute
	report.Beat()
	report.Done() // no more reports: it owes no more signs of life
	m.Stop("done")
	fmt.Println("Run returned", <-ended)
	// Output: Run returned <nil>
}

// One process holds a name; the second one is told so.
func ExampleNameTakenError() {
	_, end := scene("member procB procA")
	defer end()

	ctx, leave := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- pairguard.Guard(ctx, "procA", "procB", procB) }()
	awaitUp("procA")

	err := pairguard.Guard(ctx, "procB", "procA", procB)
	var taken *pairguard.NameTakenError
	fmt.Println(errors.Is(err, pairguard.ErrNameTaken), errors.As(err, &taken) && taken.PID != os.Getpid())
	leave()
	<-ended
	// Output: true true
}

// What an operator's tool does: look at the members, and end the pair.
func ExampleFolder_Stop() {
	dir, end := scene("member procB procA")
	defer end()
	ended := make(chan error)
	go func() { ended <- pairguard.Guard(context.Background(), "procA", "procB", procB) }()
	awaitUp("procA")

	ctx := context.Background()
	f, err := pairguard.OpenFolder(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	members, err := f.Members(ctx)
	for _, m := range members {
		fmt.Println(m.Self, "guards", m.Peer, "running:", m.Running)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := f.Stop(ctx, pairguard.DefaultGrace, "procA"); err != nil {
		fmt.Println(err)
	}
	<-ended
	// Output:
	// procA guards procB running: true
	// procB guards procA running: true
}
