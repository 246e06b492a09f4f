package control

import "time"

// Roles of supervisors.
const (
	RoleActive  = "active"
	RoleStandby = "standby"
)

// The stable form of `status --json`: fields are added, never renamed.
type (
	// Status is everything that the active supervisor knows. The pairs of the folder
	// are not its business.
	Status struct {
		Dir         string       `json:"dir"`
		Supervisors []Supervisor `json:"supervisors"`
		// Guarded: both supervisors live, and the standby has acknowledged everything.
		Guarded       bool      `json:"guarded"`
		WhyNotGuarded string    `json:"why_not_guarded"`
		Programs      []Program `json:"programs"` // in the order of their names
	}
	// Supervisor is one of the two.
	Supervisor struct {
		Role       string    `json:"role"`
		PID        int       `json:"pid"`
		Since      time.Time `json:"since"`
		Generation uint64    `json:"generation"`
	}
	// Program is one program.
	Program struct {
		Name       string     `json:"name"`
		State      string     `json:"state"`
		Ready      bool       `json:"ready"`
		PID        int        `json:"pid"` // 0: none
		Generation uint64     `json:"generation"`
		Since      time.Time  `json:"since"` // of the state
		Restarts   uint64     `json:"restarts"`
		NextStart  *time.Time `json:"next_start"`
		HeldUntil  *time.Time `json:"held_until"`
		Adopted    bool       `json:"adopted"` // taken over from dead supervisors
		LastExit   *Exit      `json:"last_exit"`
		Command    []string   `json:"command"`
		Dir        string     `json:"dir"`
		Restart    string     `json:"restart"`
		Log        LogStatus  `json:"log"`
		// Note says in words what the state does not; may be empty.
		Note string `json:"note,omitempty"`
	}
	// LogStatus is where the output of a program is.
	LogStatus struct {
		File    string `json:"file"` // absolute
		Size    int64  `json:"size"` // as defined
		Keep    int    `json:"keep"`
		Dropped uint64 `json:"dropped"` // bytes that the disk did not take
	}
	// Exit is how a process ended. Both Code and Signal nil: that is not known.
	Exit struct {
		Code   *int    `json:"code"`
		Signal *string `json:"signal"` // without SIG
		Reason string  `json:"reason"`
	}
)
