package pairguard

import (
	"errors"
	"fmt"
)

// ErrNameTaken is what [Member.Run] returns, inside a [NameTakenError], when
// another live process holds the name. A command exits with 100 then.
var ErrNameTaken = errors.New("the name is taken")

// NameTakenError tells who holds the name.
type NameTakenError struct {
	Name string
	PID  int // 0: the holder cannot be seen from here
}

func (e *NameTakenError) Error() string {
	holder := "a process that cannot be seen from here"
	if e.PID != 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("the name %s is taken by %s: end that one first, or choose another name", e.Name, holder)
}

// Is makes errors.Is(err, ErrNameTaken) true.
func (e *NameTakenError) Is(target error) bool { return target == ErrNameTaken }
