package proc

import "fmt"

// ID says which process is meant, beyond the reuse of its number: two processes
// that ever existed on one machine have different IDs. It is comparable, and
// stable as JSON. The zero ID names no process.
type ID struct {
	// BootID names the boot of the machine during which the process was started.
	BootID string `json:"boot_id"`
	// PIDNamespace is the namespace in which PID counts; 0 where there are none.
	PIDNamespace uint64 `json:"pid_namespace,omitempty"`
	// PID is the process's number in that namespace.
	PID int `json:"pid"`
	// Start is the kernel's own start time of the process, in the unit of the
	// operating system (Linux: clock ticks since boot, field 22 of
	// /proc/PID/stat). Only equality means anything. A tick is 10 ms: a number
	// would have to be used again within that to be mistaken.
	Start uint64 `json:"start"`
}

// String names the process for a person.
func (id ID) String() string {
	if id.PID == 0 {
		return "no process"
	}
	return fmt.Sprintf("process %d (start %d)", id.PID, id.Start)
}
