package control

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

const specification = "../../docs/control.md"

// exchange is a request of the specification and its answer.
type exchange struct{ asked, answered string }

func specifiedExchanges(t *testing.T) (all []exchange) {
	t.Helper()
	text, err := os.ReadFile(specification)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		asked, isQuestion := strings.CutPrefix(line, "-> ")
		answered, isAnswer := strings.CutPrefix(line, "<- ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```control"
		case !inside:
		case isQuestion:
			all = append(all, exchange{asked: asked})
		case isAnswer && len(all) > 0 && all[len(all)-1].answered == "":
			all[len(all)-1].answered = answered
		default:
			t.Fatalf("%s: neither request nor answer: %s", specification, line)
		}
	}
	if len(all) < 15 {
		t.Fatalf("%s has %d examples: is the fence still right?", specification, len(all))
	}
	return all
}

// TestSpecification sends each request of docs/control.md to a server and gets the
// answer byte for byte. The fake supervisor answers what the page says, as far as
// its types can express that; whatever the server itself refuses never reaches it.
func TestSpecification(t *testing.T) {
	shown := map[string]bool{}
	for _, e := range specifiedExchanges(t) {
		fake := &fakeSupervisor{answers: map[string]json.RawMessage{}}
		var r response
		if err := json.Unmarshal([]byte(e.answered), &r); err != nil {
			t.Fatalf("%s: %v", e.answered, err)
		}
		var q request
		own := json.Unmarshal([]byte(e.asked), &q) != nil || r.Error != nil && r.Error.Code < 0
		switch {
		case own:
		case r.Error != nil:
			fake.refusal = r.Error
		default:
			fake.answers[q.Method] = r.Result
			shown[q.Method] = true
		}
		got := converse(t, fake, e.asked)
		if got != e.answered {
			t.Errorf("%s\nis answered  %s\ninstead of   %s", e.asked, got, e.answered)
		}
		if asked := fake.asked(); own != (len(asked) == 0) {
			t.Errorf("%s\nreached the supervisor as %q", e.asked, asked)
		}
	}
	for name := range methods {
		if !shown[name] {
			t.Errorf("%s does not show the method %s", specification, name)
		}
	}
}

// What the page asks for is what the client of this package says.
func TestSpecifiedRequestsAreTheClients(t *testing.T) {
	for _, e := range specifiedExchanges(t) {
		var q request
		if json.Unmarshal([]byte(e.asked), &q) != nil || strings.Contains(e.answered, `"error":{"code":-32`) {
			continue
		}
		fake := &fakeSupervisor{record: true}
		converse(t, fake, e.asked)
		params := fake.asked()
		if len(params) != 1 {
			t.Fatalf("%s reached the supervisor %d times", e.asked, len(params))
		}
		line, err := requestLine(q.Method, params[0])
		if err != nil {
			t.Fatal(err)
		}
		var again request
		if err := json.Unmarshal(line, &again); err != nil {
			t.Fatal(err)
		}
		// The client says defaults, too; so compare what arrives.
		second := &fakeSupervisor{record: true}
		converse(t, second, string(bytes.TrimSuffix(line, []byte("\n"))))
		if one, two := encode(t, params[0]), encode(t, second.asked()[0]); one != two {
			t.Errorf("%s\nsays      %s\nand then  %s", e.asked, one, two)
		}
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
