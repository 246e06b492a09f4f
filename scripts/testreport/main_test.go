package main

import (
	"strings"
	"testing"
)

const stream = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"noise of a good test\n"}
{"Action":"pass","Package":"p","Test":"TestGood","Elapsed":0.1}
{"Action":"output","Package":"p","Test":"TestTool","Output":"=== RUN   TestTool\n"}
{"Action":"output","Package":"p","Test":"TestTool","Output":"    x_test.go:3: missing tool: strace\n"}
{"Action":"output","Package":"p","Test":"TestTool","Output":"--- SKIP: TestTool (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestTool","Elapsed":0}
not an event
{"Action":"pass","Package":"p","Elapsed":1.25}
{"Action":"skip","Package":"without tests","Elapsed":0}
`

func reported(t *testing.T, strict bool, input string) (string, bool) {
	t.Helper()
	var out strings.Builder
	r := &report{out: &out, strict: strict, output: map[string]*strings.Builder{}}
	r.read(strings.NewReader(input))
	ok := r.finish()
	return out.String(), ok
}

func TestReport(t *testing.T) {
	got, ok := reported(t, false, stream)
	want := "not an event\nok   p 1.2s\n1 tests passed, 1 skipped\n  skipped: p TestTool: x_test.go:3: missing tool: strace\n"
	if got != want || !ok {
		t.Errorf("ok %v, got:\n%s\nwant:\n%s", ok, got, want)
	}
}

func TestMissingToolFailsOnCI(t *testing.T) {
	if got, ok := reported(t, true, stream); ok || !strings.Contains(got, "FAIL") {
		t.Errorf("ok %v: %s", ok, got)
	}
}

func TestFailuresAreShown(t *testing.T) {
	got, ok := reported(t, false, `{"Action":"build-output","ImportPath":"p","Output":"x.go:1: broken\n"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"    x_test.go:3: bad\n"}
{"Action":"fail","Package":"p","Test":"TestBad","Elapsed":0}
{"Action":"output","Package":"p","Output":"panic: at the end\n"}
{"Action":"fail","Package":"p","Elapsed":2}
`)
	for _, want := range []string{"x.go:1: broken\n", "x_test.go:3: bad\n", "panic: at the end\n", "FAIL p 2.0s\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if ok {
		t.Error("a failed run counts as passed")
	}
}
