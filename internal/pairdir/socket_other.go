//go:build !unix

package pairdir

// removeSocket has nothing to do on Windows: a pipe is gone with the last handle of it.
func (c *Claim) removeSocket() error { return nil }
