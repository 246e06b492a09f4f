package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

// Config says which of the two supervisors this process is, and where.
type Config struct {
	Dir string // empty: the default folder
	// Self and Peer are control.First and control.Second, in either order.
	Self, Peer string
	// Command starts the peer; its executable is resolved by Run.
	Command []string
	Logger  *slog.Logger // nil: nothing is logged
	// Rest, when not nil, is called when it is quiet after much was done, on a goroutine of
	// its own: for memory that is not needed any more.
	Rest func()
	// Hurry, when not nil, is called with true as soon as the active supervisor has died,
	// and with false a while after: the one who takes over may use more of the machine.
	Hurry func(bool)
}

// Run is one of the two supervisors of a folder, until it leaves (ctx ends), or no
// program is left. It returns nil after an announced end; errors.Is
// pairguard.ErrNameTaken when another process is that supervisor already.
func Run(ctx context.Context, cfg Config) error {
	forker, unforked := proc.NewForker() // before anything is open
	l, err := newLoop(cfg)
	if err != nil {
		return err
	}
	if l.forker = forker; unforked != nil {
		l.debug("starts without a thread of their own", "error", unforked)
	}
	l.member, err = pairguard.New(pairguard.Config{
		Self: cfg.Self, Peer: cfg.Peer, Command: cfg.Command, Dir: l.dir.Path(), WorkDir: "/",
		Healthy: l.healthy, OnEvent: l.hear, Logger: cfg.Logger,
	})
	if err != nil {
		return err
	}
	_ = proc.LowerOOMScore(oomScore) // without root it stays
	ended := make(chan error, 1)
	go func() { ended <- l.member.Run(ctx) }()
	return l.run(ended)
}

// oomScore is that of sshd and systemd's own services: nearly everything is killed
// before a supervisor is.
const oomScore = -900

func newLoop(cfg Config) (*loop, error) {
	path := cfg.Dir
	if path == "" {
		var err error
		if path, err = pairdir.Default(); err != nil {
			return nil, err
		}
	}
	dir, err := pairdir.Open(path)
	if err != nil {
		return nil, err
	}
	shelf, err := dir.Shelf(shelfName)
	if err != nil {
		return nil, err
	}
	self, err := proc.Self()
	if err != nil {
		return nil, err
	}
	name, err := dir.Name(control.Active)
	if err != nil {
		return nil, err
	}
	peer, err := dir.Name(cfg.Peer)
	if err != nil {
		return nil, err
	}
	journal, err := openJournal(dir, name)
	if err != nil {
		return nil, err
	}
	pump, err := output.NewPump()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(dir.Path()))
	ctx, cancel := context.WithCancel(context.Background())
	l := &loop{
		cfg: cfg, dir: dir, shelf: shelf, me: self, boot: self.BootID, name: name, peer: peer,
		groupName: "pairguard-" + hex.EncodeToString(sum[:6]),
		journal:   journal, pump: pump, scribe: newScribe(shelf), starts: newQueue(),
		inbox: newInbox(), ctx: ctx, cancel: cancel,
		custody: custody.New(), tickets: map[uint64]func(held bool){}, programs: map[string]*program{}, environs: map[string]*inherited{}, strays: map[string]stray{},
		since: time.Now(),
	}
	l.pulse.answered.Store(int64(l.now()))
	return l, nil
}

// noSupervisor is what people read when both have died: their programs run on.
const noSupervisor = "no supervisor runs: 'pairguard start' or 'up' starts them, and they take over what runs"

// Offline says what is known of the programs of a folder in which no supervisor
// listens, from the disk alone. A program that lives on without supervisors is told
// as it was when they died.
func Offline(path string) (control.Status, error) {
	dir, err := pairdir.Open(path)
	if err != nil {
		return control.Status{}, err
	}
	shelf, err := dir.Shelf(shelfName)
	if err != nil {
		return control.Status{}, err
	}
	self, err := proc.Self()
	if err != nil {
		return control.Status{}, err
	}
	programs, notes, err := loadAll(shelf, self.BootID)
	if err != nil {
		return control.Status{}, err
	}
	s := control.Status{Dir: dir.Path(), Supervisors: []control.Supervisor{}, WhyNotGuarded: noSupervisor, Programs: []control.Program{}}
	for _, one := range programs {
		p := describe(&one.definition, one.run.Record, one.definition.LogFile(dir.Path()))
		if one.run.Process != nil && one.run.Record.Live() {
			h, err := proc.Reopen(*one.run.Process)
			if err == nil {
				p.PID = h.PID()
				h.Close()
			} else {
				p.Note = "it has ended since its supervisors did: 'pairguard up' or 'start' starts it again"
			}
		}
		s.Programs = append(s.Programs, p)
	}
	if len(notes) > 0 {
		s.WhyNotGuarded = noSupervisor + "; " + notes[0]
	}
	return s, nil
}
