package pairguard

import (
	"sync"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
)

// makeRoom is how long nobody is let in after strangers were hung up on, so that
// what they had used up is there for the revival.
const makeRoom = 500 * time.Millisecond

// crowd is everybody who has connected and not yet said who he is. Safe for
// concurrent use.
type crowd struct {
	mu     sync.Mutex // guards what follows
	inside map[*ipc.Conn]bool
	until  time.Time // nobody is let in before
}

// enter counts a connection in.
func (c *crowd) enter(conn *ipc.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside == nil {
		c.inside = map[*ipc.Conn]bool{}
	}
	c.inside[conn] = true
}

// pause is how long nobody is to be let in from now.
func (c *crowd) pause() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Until(c.until)
}

// leave counts it out.
func (c *crowd) leave(conn *ipc.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inside, conn)
}

// hangUp closes every connection of a stranger: something that the guard itself
// needs could not be had, and they may be why.
func (c *crowd) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.inside {
		conn.Close()
	}
	if len(c.inside) > 0 {
		c.until = time.Now().Add(makeRoom)
	}
}
