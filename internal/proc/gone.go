package proc

import "errors"

// Gone reports whether the process that id names is known to have ended, reaped or
// not. What cannot be known, as in another PID namespace, is no.
func Gone(id ID) bool {
	h, err := Reopen(id)
	if err != nil {
		return errors.Is(err, ErrGone) && !errors.Is(err, ErrElsewhere)
	}
	defer h.Close()
	select {
	case <-h.Done():
		return true
	default:
		return false
	}
}
