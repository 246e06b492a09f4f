package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
)

const (
	// patience is how long Client looks for a supervisor that answers.
	patience = 10 * time.Second
	// steady is how long a connection must have lasted for its end to be a new
	// trouble and not the old one.
	steady = time.Second
	// launchPause is the shortest time between two starts of the supervisors.
	launchPause = 2 * time.Second
	// maxAnswer is the longest answer: the status of ten thousand programs.
	maxAnswer = 64 << 20
	// askPause and maxAskPause are the times between two tries.
	askPause, maxAskPause = 2 * time.Millisecond, 100 * time.Millisecond
	// busyPause is how long one waits who was sent away.
	busyPause = time.Second
)

// Client asks the supervisors of one folder. A request whose supervisor dies, ends or
// is replaced is asked again. It is a [Handler], so everything that can be asked has a
// method. Safe for concurrent use.
type Client struct {
	// Connect connects to the active supervisor; its error wraps ipc.ErrAbsent when
	// nobody listens.
	Connect func(ctx context.Context) (Conn, error)
	// Launch starts the supervisors and does not wait for them; it is called when nobody
	// listens. nil: that is an error, which wraps ipc.ErrAbsent.
	Launch func(ctx context.Context) error

	patience time.Duration // 0: the default
}

var _ Handler = (*Client)(nil)

// call asks until there is an answer.
func (c *Client) call(ctx context.Context, method string, params, result any) error {
	line, err := requestLine(method, params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	w := wait{since: time.Now()}
	for {
		begun := time.Now()
		answered, err := c.ask(ctx, line, result)
		switch {
		case answered && IsCode(err, CodeBusy):
			w = wait{since: time.Now(), launched: w.launched, pause: busyPause}
		case answered && !IsCode(err, CodeEnding):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ipc.ErrUntrusted):
			return err
		case errors.Is(err, ipc.ErrAbsent):
			if err := c.launch(ctx, &w, err); err != nil {
				return err
			}
		case time.Since(begun) > steady:
			w = wait{since: time.Now(), launched: w.launched}
		}
		if time.Since(w.since) > cmp.Or(c.patience, patience) {
			return fmt.Errorf("%s: no supervisor has answered for %v: %w", method, cmp.Or(c.patience, patience), err)
		}
		rest(ctx, w.next())
	}
}

// wait is the search for a supervisor that answers.
type wait struct {
	since    time.Time     // nobody has answered
	pause    time.Duration // the last one
	launched time.Time     // zero: not
}

// next is the pause before the next try.
func (w *wait) next() time.Duration {
	if w.pause < maxAskPause {
		w.pause = min(max(2*w.pause, askPause), maxAskPause)
		return w.pause
	}
	long := w.pause
	w.pause = maxAskPause
	return long
}

// launch starts the supervisors, unless that was just done; absent is why.
func (c *Client) launch(ctx context.Context, w *wait, absent error) error {
	if c.Launch == nil {
		return absent
	}
	if !w.launched.IsZero() && time.Since(w.launched) < launchPause {
		return nil
	}
	if err := c.Launch(ctx); err != nil {
		return err
	}
	w.launched = time.Now()
	return nil
}

func requestLine(method string, params any) ([]byte, error) {
	body, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(request{JSONRPC: version, ID: json.RawMessage("1"), Method: method, Params: body})
	if err != nil {
		return nil, err
	}
	if len(line) >= MaxLine {
		return nil, fmt.Errorf("the request has %d bytes, at most %d are taken: define fewer programs at once", len(line), MaxLine)
	}
	return append(line, '\n'), nil
}

// ask asks once, on a connection of its own. answered: the error, if any, is the
// supervisor's.
func (c *Client) ask(ctx context.Context, line []byte, result any) (answered bool, err error) {
	conn, err := c.Connect(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.Trusted(); err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if _, err := conn.Write(line); err != nil {
		return false, err
	}
	answer, err := newLineReader(conn, maxAnswer).next()
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
		return false, errors.New("the supervisor went away before it answered")
	}
	if err != nil {
		return false, err
	}
	var r response
	if err := json.Unmarshal(answer, &r); err != nil {
		return true, fmt.Errorf("the supervisor's answer cannot be read: %w", err)
	}
	if r.Error != nil {
		return true, r.Error
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return true, fmt.Errorf("the supervisor's answer cannot be read: %w", err)
	}
	return true, nil
}

func askFor[R any](ctx context.Context, c *Client, method string, params any) (result R, err error) {
	err = c.call(ctx, method, params, &result)
	return result, err
}

// Up asks for [Handler.Up].
func (c *Client) Up(ctx context.Context, p UpParams) (Changes, error) {
	return askFor[Changes](ctx, c, "up", p)
}

// Run asks for [Handler.Run].
func (c *Client) Run(ctx context.Context, p RunParams) (RunResult, error) {
	return askFor[RunResult](ctx, c, "run", p)
}

// Start asks for [Handler.Start].
func (c *Client) Start(ctx context.Context, p NamesParams) (Changes, error) {
	return askFor[Changes](ctx, c, "start", p)
}

// Stop asks for [Handler.Stop].
func (c *Client) Stop(ctx context.Context, p StopParams) (Changes, error) {
	return askFor[Changes](ctx, c, "stop", p)
}

// Restart asks for [Handler.Restart].
func (c *Client) Restart(ctx context.Context, p RestartParams) (Changes, error) {
	return askFor[Changes](ctx, c, "restart", p)
}

// Hold asks for [Handler.Hold].
func (c *Client) Hold(ctx context.Context, p HoldParams) (Changes, error) {
	return askFor[Changes](ctx, c, "hold", p)
}

// Unhold asks for [Handler.Unhold].
func (c *Client) Unhold(ctx context.Context, p NamesParams) (Changes, error) {
	return askFor[Changes](ctx, c, "unhold", p)
}

// Status asks for [Handler.Status].
func (c *Client) Status(ctx context.Context, p NamesParams) (Status, error) {
	return askFor[Status](ctx, c, "status", p)
}

// Wait asks for [Handler.Wait].
func (c *Client) Wait(ctx context.Context, p WaitParams) (WaitResult, error) {
	return askFor[WaitResult](ctx, c, "wait", p)
}

// Down asks for [Handler.Down].
func (c *Client) Down(ctx context.Context, p DownParams) (Changes, error) {
	return askFor[Changes](ctx, c, "down", p)
}
