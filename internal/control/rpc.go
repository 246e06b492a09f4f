package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// version is what every request and answer says (docs/control.md).
const version = "2.0"

const methodWait = "wait"

// request is a line of a client.
type request struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"` // nil: a notification
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params,omitempty"`
}

// response is a line of the server: Result or Error.
type response struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

var nullID = json.RawMessage("null")

// failure is the answer to what was refused.
func failure(id json.RawMessage, err error) response {
	var e *Error
	if !errors.As(err, &e) {
		e = Errorf(CodeFailed, "%s", strings.TrimPrefix(err.Error(), "pairguard: "))
	}
	return response{JSONRPC: version, ID: id, Error: e}
}

// answerID is what an error about r names; what was no request has no id.
func (r request) answerID() json.RawMessage {
	if r.ID == nil || !validID(r.ID) {
		return nullID
	}
	return r.ID
}

// validID: a string, a number or null.
func validID(id json.RawMessage) bool {
	return len(id) > 0 && id[0] != '{' && id[0] != '[' && id[0] != 't' && id[0] != 'f'
}

// parseRequest reads a line; with an *Error the request holds what could be read of it.
func parseRequest(line []byte) (r request, refused *Error) {
	switch {
	case !utf8.Valid(line):
		// encoding/json would quietly put other characters in their place.
		return r, Errorf(CodeParse, "the line is not UTF-8")
	case !json.Valid(line):
		return r, Errorf(CodeParse, "the line is not JSON: one request is one line")
	case bytes.HasPrefix(bytes.TrimSpace(line), []byte("[")):
		return r, Errorf(CodeRequest, "batches are not supported: send one request a line")
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, Errorf(CodeRequest, "it is no request: %s", jsonProblem(err))
	}
	switch {
	case r.ID != nil && !validID(r.ID):
		return r, Errorf(CodeRequest, "id must be a string, a number or null")
	case r.JSONRPC != version:
		return r, Errorf(CodeRequest, "jsonrpc must be %q", version)
	case r.Method == "":
		return r, Errorf(CodeRequest, "there is no method")
	}
	return r, nil
}

// jsonProblem is what encoding/json says, without the words about Go.
func jsonProblem(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Sprintf("%s cannot be a %s", cmp.Or(kind.Field, "it"), kind.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// dispatch decodes and checks the parameters, and lets h do the rest. A panic of one
// request must not end the supervisor: its successor would be asked the same.
func dispatch(ctx context.Context, h Handler, method string, params json.RawMessage) (result any, err error) {
	m, ok := methods[method]
	if !ok {
		return nil, Errorf(CodeMethod, "there is no method %q", method)
	}
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, Errorf(codeInternal, "%s failed inside: %v", method, p)
		}
	}()
	return m(ctx, h, params)
}

// handling is one method: it decodes, checks and calls.
type handling func(ctx context.Context, h Handler, params json.RawMessage) (any, error)

var methods = map[string]handling{
	"up":       handles(Handler.Up, (*UpParams).check),
	"run":      handles(Handler.Run, (*RunParams).check),
	"start":    handles(Handler.Start, (*NamesParams).check),
	"stop":     handles(Handler.Stop, (*StopParams).check),
	"restart":  handles(Handler.Restart, (*RestartParams).check),
	"hold":     handles(Handler.Hold, (*HoldParams).check),
	"unhold":   handles(Handler.Unhold, (*NamesParams).check),
	"status":   handles(Handler.Status, (*NamesParams).check),
	methodWait: handles(Handler.Wait, (*WaitParams).check),
	"down":     handles(Handler.Down, (*DownParams).check),
}

func handles[P, R any](call func(Handler, context.Context, P) (R, error), check func(*P) error) handling {
	return func(ctx context.Context, h Handler, params json.RawMessage) (any, error) {
		var p P
		if err := decode(params, &p); err != nil {
			return nil, Errorf(CodeParams, "params: %v", err)
		}
		if err := check(&p); err != nil {
			return nil, Errorf(CodeParams, "%v", err)
		}
		return call(h, ctx, p)
	}
}

// decode is strict: a word that is not known is an error, not ignored.
func decode(params json.RawMessage, p any) error {
	if len(params) == 0 {
		params = json.RawMessage("{}")
	}
	if params[0] != '{' {
		return errors.New("must be an object with names")
	}
	target := p
	switch p.(type) { // a Definition itself is not strict
	case *UpParams:
		target = new(struct {
			Programs []bare   `json:"programs"`
			Inherit  []string `json:"inherit"`
			Prune    bool     `json:"prune"`
		})
	case *RunParams:
		target = new(struct {
			Program bare   `json:"program"`
			Request string `json:"request"`
		})
	}
	d := json.NewDecoder(bytes.NewReader(params))
	d.DisallowUnknownFields()
	err := d.Decode(target)
	if err == nil && target != p {
		err = json.Unmarshal(params, p)
	}
	if err != nil {
		return errors.New(jsonProblem(err))
	}
	return nil
}
