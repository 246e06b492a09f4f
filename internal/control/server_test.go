package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const askStatus = `{"jsonrpc":"2.0","id":1,"method":"status"}`

// Every line that is no good request gets one error and never reaches the supervisor.
func TestBadRequestsChangeNothing(t *testing.T) {
	fake := &fakeSupervisor{}
	c := open(t, fake).dial(t)
	for line, want := range map[string]struct {
		code int
		say  string
	}{
		`nonsense`:  {CodeParse, "not JSON"},
		"\xff":      {CodeParse, "UTF-8"},
		`{} {}`:     {CodeParse, "not JSON"},
		`null`:      {CodeRequest, "jsonrpc"},
		`"status"`:  {CodeRequest, "no request"},
		`[]`:        {CodeRequest, "batches"},
		`{"id":{}}`: {CodeRequest, "id must be"},
		`{"jsonrpc":"2.0","id":true,"method":"status"}`:                       {CodeRequest, "id must be"},
		`{"jsonrpc":"1.0","id":1,"method":"status"}`:                          {CodeRequest, "2.0"},
		`{"jsonrpc":"2.0","id":1}`:                                            {CodeRequest, "no method"},
		`{"jsonrpc":"2.0","id":1,"method":7}`:                                 {CodeRequest, "method cannot be a number"},
		`{"jsonrpc":"2.0","method":"reboot","id":1}`:                          {CodeMethod, "reboot"},
		method("status", `[]`):                                                {CodeParams, "an object"},
		method("status", `null`):                                              {CodeParams, "an object"},
		method("status", `{"names":"web"}`):                                   {CodeParams, "names cannot be a string"},
		method("stop", `{"nmaes":["web"]}`):                                   {CodeParams, `unknown field "nmaes"`},
		method("stop", `{"names":["../web"]}`):                                {CodeParams, "'/' is not allowed"},
		method("wait", `{}`):                                                  {CodeParams, "name is empty"},
		method("hold", `{"names":["web"]}`):                                   {CodeParams, "longer than zero"},
		method("hold", `{"for":"soon"}`):                                      {CodeParams, `"soon" is not a duration`},
		method("run", `{"request":"r"}`):                                      {CodeParams, "name is empty"},
		method("run", `{"program":{}}`):                                       {CodeParams, "request: must be"},
		method("run", `{"request":"r","program":{"name":"web","comand":[]}}`): {CodeParams, `unknown field "comand"`},
		method("run", program("web", `"restart":"on-abort"`)):                 {CodeParams, "not supported yet"},
		method("run", program("supervisor", `"dir":"/"`)):                     {CodeParams, "choose another"},
		method("restart", `{"programs":[{"name":"web","generation":-1}]}`):    {CodeParams, "generation"},
		method("up", `{"programs":[{"name":"a","command":["/a"],"dir":"/"},{"name":"a","command":["/b"],"dir":"/"}]}`): {CodeParams, "twice"},
		method("up", `{"programs":[{"name":"a","command":["/a"],"dir":"/","log":{"file":"/l"}},`+
			`{"name":"b","command":["/b"],"dir":"/","log":{"file":"/l"}}]}`): {CodeParams, "same log"},
	} {
		c.say(t, line)
		var r response
		if err := json.Unmarshal([]byte(c.hear(t)), &r); err != nil {
			t.Fatal(err)
		}
		if r.Error == nil || r.Error.Code != want.code || !strings.Contains(r.Error.Message, want.say) || strings.Contains(r.Error.Message, "\n") {
			t.Errorf("%s\nis answered %+v, want code %d and one line with %q", line, r.Error, want.code, want.say)
		}
	}
	if asked := fake.asked(); len(asked) != 0 {
		t.Errorf("the supervisor was asked %v", asked)
	}
	c.say(t, askStatus)
	c.hear(t) // and the connection is as good as before
}

func method(name, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, name, params)
}

func program(name, more string) string {
	return fmt.Sprintf(`{"request":"r","program":{"name":%q,"command":["/bin/x"],"dir":"/",%s}}`, name, more)
}

func TestNotificationsAndEmptyLinesAreNotAnswered(t *testing.T) {
	done := make(chan string, 2)
	c := open(t, &fakeSupervisor{before: func(_ context.Context, m string) { done <- m }}).dial(t)
	c.say(t, "", "\r", `{"jsonrpc":"2.0","method":"unhold"}`, `{"jsonrpc":"2.0","method":"reboot"}`)
	if m := <-done; m != "unhold" {
		t.Fatal(m)
	}
	c.say(t, `{"jsonrpc":"2.0","id":"x","method":"start"}`+"\r")
	if got := c.hear(t); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":"x","result":`) {
		t.Errorf("the first answer is %s", got)
	}
}

func TestLongLineEndsTheConnection(t *testing.T) {
	s := open(t, &fakeSupervisor{})
	c := s.dial(t)
	go func() { _, _ = c.Write([]byte(strings.Repeat("x", 2*MaxLine))) }()
	if got := c.hear(t); !strings.Contains(got, "more than 1048576 bytes") {
		t.Error(got)
	}
	c = s.dial(t)
	fits := method("up", `{"programs":[],"inherit":["A=`+strings.Repeat("a", MaxLine-200)+`"]}`)
	c.say(t, fits)
	if got := c.hear(t); !strings.Contains(got, `"result"`) {
		t.Errorf("a line of %d bytes: %.100s", len(fits), got)
	}
}

// A client that vanishes in the middle of a request ends the request's context; one
// that only says no more is still answered.
func TestClientVanishes(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	fake := &fakeSupervisor{before: func(ctx context.Context, m string) {
		if m != "wait" {
			return
		}
		close(begun)
		<-ctx.Done()
		close(ended)
	}}
	s := open(t, fake, func(l *limits, _ *netListener) { l.farewell = 50 * time.Millisecond })
	c := s.dial(t)
	c.say(t, method("wait", `{"name":"web"}`))
	await(t, begun)
	c.Close()
	await(t, ended)

	c = s.dial(t)
	c.say(t, askStatus)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.hear(t); !strings.Contains(got, `"result"`) {
		t.Error(got)
	}
}

func await(t *testing.T, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(testPatience):
		t.Fatal("it does not happen")
	}
}

// The answer to `down` gets out although the supervisor ends right after it.
func TestEndOfTheServerLetsAnswersOut(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	s := open(t, &fakeSupervisor{before: func(context.Context, string) { close(begun); <-release }})
	c := s.dial(t)
	c.say(t, `{"jsonrpc":"2.0","id":1,"method":"down"}`)
	await(t, begun)
	ended := make(chan struct{})
	go func() { s.end(); close(ended) }()
	close(release)
	if got := c.hear(t); !strings.Contains(got, `"result"`) {
		t.Error(got)
	}
	await(t, ended)
}

// More clients than are served at once, all of them waiting, do not keep a stop out;
// and all of them get their answer in the end.
func TestThousandWaitAndOneStops(t *testing.T) {
	const clients = 200
	var waiting atomic.Int64
	full, stopped := make(chan struct{}), make(chan struct{})
	fake := &fakeSupervisor{before: func(ctx context.Context, m string) {
		switch m {
		case "wait":
			if waiting.Add(1) == 10 {
				close(full)
			}
			select {
			case <-stopped:
			case <-ctx.Done():
			}
		case "stop":
			close(stopped)
		}
	}}
	s := open(t, fake, func(l *limits, _ *netListener) { l.conns = 10 })
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	client := &Client{Connect: s.connect, patience: testPatience}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			if _, err := client.Wait(ctx, WaitParams{Name: "web"}); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, full)
	if _, err := client.Stop(ctx, StopParams{Names: []string{"web"}}); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// A thousand requests at once, some of them bad, each get one answer.
func TestThousandAtOnce(t *testing.T) {
	var most, now atomic.Int64
	fake := &fakeSupervisor{before: func(context.Context, string) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		now.Add(-1)
	}}
	s := open(t, fake)
	client := &Client{Connect: s.connect, patience: testPatience}
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			var err error
			switch i % 3 {
			case 0:
				_, err = client.Status(t.Context(), NamesParams{})
			case 1:
				if _, err = client.Stop(t.Context(), StopParams{Names: []string{"no/name"}}); IsCode(err, CodeParams) {
					err = nil
				}
			case 2:
				c, dialErr := s.connect(t.Context())
				if dialErr != nil {
					return // the queue is full: that one asks later
				}
				_, err = c.Write([]byte("garbage\n\x00\xff[[[\n{"))
				c.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > int64(defaultLimits.conns) {
		t.Errorf("%d requests were in work at once", most.Load())
	}
}

func TestTooManyRequestsOfOne(t *testing.T) {
	block := make(chan struct{})
	c := open(t, &fakeSupervisor{before: func(context.Context, string) { <-block }}, func(l *limits, _ *netListener) { l.atOnce = 3 }).dial(t)
	for range 5 {
		c.say(t, askStatus)
	}
	for range 2 {
		if got := c.hear(t); !strings.Contains(got, `"code":3`) {
			t.Error(got)
		}
	}
	close(block)
	for range 3 {
		if got := c.hear(t); !strings.Contains(got, `"result"`) {
			t.Error(got)
		}
	}
}

// A client that does not read its answers is given up, and nobody else notices.
func TestDeafClientIsGivenUp(t *testing.T) {
	ended := make(chan struct{}, 1)
	big := json.RawMessage(`{"why_not_guarded":"` + strings.Repeat("x", 1<<20) + `"}`)
	fake := &fakeSupervisor{answers: map[string]json.RawMessage{"status": big}}
	fake.before = func(ctx context.Context, m string) {
		if m == "wait" {
			<-ctx.Done()
			ended <- struct{}{}
		}
	}
	s := open(t, fake, func(l *limits, _ *netListener) { l.patience, l.farewell = 50*time.Millisecond, 50*time.Millisecond })
	deaf := s.dial(t)
	deaf.say(t, method("wait", `{"name":"web"}`), askStatus)
	await(t, ended)
	other := s.dial(t)
	other.say(t, method("start", `{}`))
	other.hear(t)
}

func TestStrangersAreNotServed(t *testing.T) {
	fake := &fakeSupervisor{}
	c := open(t, fake, func(_ *limits, l *netListener) { l.strangers = true }).dial(t)
	_, _ = c.Write([]byte(askStatus + "\n"))
	if line, err := c.r.ReadString('\n'); err == nil {
		t.Errorf("a stranger is answered %s", line)
	}
	if asked := fake.asked(); len(asked) != 0 {
		t.Errorf("the supervisor was asked %v", asked)
	}
}

// Descriptors used up for a while: accepting goes on afterwards.
func TestAcceptFails(t *testing.T) {
	s := open(t, &fakeSupervisor{}, func(_ *limits, l *netListener) {
		for range cap(l.failures) {
			l.failures <- errors.New("too many open files")
		}
	})
	c := s.dial(t)
	c.say(t, askStatus)
	c.hear(t)
}

func TestPanicOfARequestIsAnAnswer(t *testing.T) {
	c := open(t, &fakeSupervisor{before: func(context.Context, string) { panic("oh") }}).dial(t)
	c.say(t, askStatus)
	if got := c.hear(t); !strings.Contains(got, "-32603") || !strings.Contains(got, "oh") {
		t.Error(got)
	}
}

// Whatever comes in: no crash, and for each line at most one answer, which is JSON.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{askStatus, method("run", program("web", `"restart":"no"`)), "[]", "{", method("up", `{"programs":[{}]}`)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, refused := parseRequest(line)
		if refused != nil {
			if b, err := json.Marshal(failure(r.answerID(), refused)); err != nil || !json.Valid(b) {
				t.Fatalf("%q: %s, %v", line, b, err)
			}
			return
		}
		fake := &fakeSupervisor{record: true}
		_, err := dispatch(t.Context(), fake, r.Method, r.Params)
		if err == nil && len(fake.asked()) != 1 || err != nil && len(fake.asked()) != 0 {
			t.Fatalf("%q: %v, asked %v", line, err, fake.asked())
		}
		for _, p := range fake.asked() {
			if run, ok := p.(RunParams); ok && run.Program.Validate() != nil {
				t.Fatalf("%q: an invalid definition went through", line)
			}
		}
	})
}
