//go:build !windows

package proc

// OnEndRequest does nothing here: whoever wants this process to end sends a
// signal.
func OnEndRequest(func(reason string)) error { return nil }

// SessionEnds returns false: here a boot, which has a name, is what ends.
func SessionEnds() bool { return false }
