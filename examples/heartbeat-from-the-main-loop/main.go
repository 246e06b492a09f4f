// Command heartbeat-from-the-main-loop is a program whose heartbeats come from
// the loop that does its work, so that its peer notices when that loop hangs and
// not only when the process dies. Two of it guard each other:
//
//	heartbeat-from-the-main-loop workA workB
//
// starts workA, which starts workB as a copy of itself. A file workB.deadlock in
// the working directory makes the loop of workB hang; workA replaces it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/pairguard/pairguard"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: heartbeat-from-the-main-loop SELF PEER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(self, peer string) error {
	// The library installs no signal handler. Here SIGTERM and Ctrl-C end this
	// process alone: cancelling the context of Run is a leave.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()

	m, err := pairguard.New(pairguard.Config{
		Self: self, Peer: peer,
		Command: []string{os.Args[0], peer, self},
		OnEvent: func(e pairguard.Event) { fmt.Println(e.Self, e.Kind, e.Peer, e.PeerPID, e.Reason) },
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()

	// Much shorter than the heartbeat of 1 s, so that one round may take longer.
	round := time.NewTicker(100 * time.Millisecond)
	defer round.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-round.C:
			work(self)
			m.Beat()
		}
	}
}

// work stands for what the program is there for. With a file SELF.deadlock it has
// the defect that everybody has once: it waits for a lock that it holds itself.
func work(self string) {
	var mu sync.Mutex
	mu.Lock()
	if os.Remove(self+".deadlock") == nil {
		mu.Lock()
	}
	mu.Unlock()
}
