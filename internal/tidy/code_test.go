package tidy

import (
	"go/ast"
	"go/build/constraint"
	"go/doc"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// pure packages decide; they are given the time, the randomness and the news, and reach for none of them.
var pure = []string{"internal/wire", "internal/protocol", "internal/detector", "internal/restart", "internal/lifecycle", "internal/custody"}

// impure are the imports that a pure package may not have, with everything below them.
var impure = []string{
	"os", "net", "log", "sync", "syscall", "io/ioutil", "runtime", "unsafe", "math/rand", "crypto/rand", "context", "plugin", "golang.org/x/sys",
}

// timeFunctions are those of package time, which pure code does not call; its types and constants are fine.
var timeFunctions = []string{
	"After", "AfterFunc", "Date", "FixedZone", "LoadLocation", "LoadLocationFromTZData", "NewTicker", "NewTimer", "Now", "Parse",
	"ParseDuration", "ParseInLocation", "Since", "Sleep", "Tick", "Unix", "UnixMicro", "UnixMilli", "Until",
}

func TestPurePackagesReachForNothing(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || !slices.Contains(pure, f.dir) {
			continue
		}
		for p := range f.imports() {
			own, inside := strings.CutPrefix(p, module+"/")
			if inside && !slices.Contains(pure, own) || p == module {
				t.Errorf("%s imports %s: a pure package may import pure ones only", f.path, p)
			}
			for _, bad := range impure {
				if p == bad || strings.HasPrefix(p, bad+"/") {
					t.Errorf("%s imports %s: a pure package may not", f.path, p)
				}
			}
		}
		f.selectors("time", func(name string, pos token.Pos) {
			if slices.Contains(timeFunctions, name) {
				t.Errorf("%s:%d: time.%s: a pure package is given the time", f.path, f.line(pos), name)
			}
		})
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s:%d: a pure package starts no goroutine", f.path, f.line(g.Pos()))
			}
			return true
		})
	}
}

func TestPackageDocs(t *testing.T) {
	packages, docs := map[string]bool{}, map[string][]string{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		packages[f.dir] = true
		text, name := f.ast.Doc.Text(), f.ast.Name.Name
		if text == "" {
			continue
		}
		docs[f.dir] = append(docs[f.dir], f.path)
		if name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
			t.Errorf("%s: the package doc begins with %q, not with \"Package %s\"; if it is not meant for the package, leave a line free below it",
				f.path, new(doc.Package).Synopsis(text), name)
		}
	}
	for dir := range packages {
		if found := docs[dir]; len(found) != 1 {
			t.Errorf("%s has %d package docs, not one: %v", dir, len(found), found)
		}
	}
}

func TestSizes(t *testing.T) {
	const maxFunction, maxFile = 70, 500
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		if n := f.line(f.ast.FileEnd); n > maxFile {
			t.Errorf("%s has %d lines, more than %d: what are its two subjects?", f.path, n, maxFile)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.line(fn.End()) - f.line(fn.Pos()) + 1; n > maxFunction {
				t.Errorf("%s:%d: %s has %d lines, more than %d", f.path, f.line(fn.Pos()), fn.Name.Name, n, maxFunction)
			}
		}
	}
}

func TestNoSleepInTests(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test && f.dir != "internal/sim" && f.dir != "internal/e2e" {
			continue
		}
		f.selectors("time", func(name string, pos token.Pos) {
			if name == "Sleep" {
				t.Errorf("%s:%d: time.Sleep in a test: wait for the event, with a deadline", f.path, f.line(pos))
			}
		})
	}
}

// platformPlaces may hold files for one operating system. Tests may be for one anywhere.
var platformPlaces = []string{"internal/ipc", "internal/proc", "internal/pairdir", "internal/supervisor", "cmd", "bench"}

// systems are the tags and file name endings that make a file one system's.
var systems = strings.Fields("unix linux darwin windows freebsd netbsd openbsd dragonfly solaris illumos aix android ios plan9 js wasip1 " +
	"amd64 386 arm64 arm riscv64 loong64 ppc64 ppc64le s390x mips mipsle mips64 mips64le wasm cgo")

func TestPlatformFilesStayInTheirRooms(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || slices.ContainsFunc(platformPlaces, func(p string) bool { return f.dir == p || strings.HasPrefix(f.dir, p+"/") }) {
			continue
		}
		if tags := systemTags(t, f); len(tags) > 0 {
			t.Errorf("%s is for %v: platform files live in %v", f.path, tags, platformPlaces)
		}
	}
}

func systemTags(t *testing.T, f goFile) (tags []string) {
	t.Helper()
	parts := strings.Split(strings.TrimSuffix(path.Base(f.path), ".go"), "_")
	for _, part := range parts[1:] {
		if slices.Contains(systems, part) {
			tags = append(tags, part)
		}
	}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if c.Pos() > f.ast.Package || !constraint.IsGoBuild(c.Text) {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			if err != nil {
				t.Errorf("%s: %v", f.path, err)
				continue
			}
			expr.Eval(func(tag string) bool {
				if slices.Contains(systems, tag) {
					tags = append(tags, tag)
				}
				return false
			})
		}
	}
	return tags
}

// TestDependencies keeps what a user of the library has to trust small. A new dependency is a decision: it is made here.
func TestDependencies(t *testing.T) {
	library := []string{"golang.org/x/sys"}
	// go-yaml reads pairguard.yaml: a maintained parser without dependencies that tells the line of everything.
	command := append([]string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term", "github.com/goccy/go-yaml"}, library...)
	tests := append([]string{"pgregory.net/rapid", "go.uber.org/goleak", "github.com/rogpeppe/go-internal"}, command...)
	for _, f := range goFiles(t) {
		allowed := library
		switch {
		case f.test || f.dir == "internal/sim" || f.dir == "internal/e2e":
			allowed = tests
		case strings.HasPrefix(f.dir, "cmd/") || strings.HasPrefix(f.dir, "bench"):
			allowed = command
		}
		for p := range f.imports() {
			first, _, _ := strings.Cut(p, "/")
			standard := !strings.Contains(first, ".")
			own := p == module || strings.HasPrefix(p, module+"/")
			if !standard && !own && !slices.ContainsFunc(allowed, func(a string) bool { return p == a || strings.HasPrefix(p, a+"/") }) {
				t.Errorf("%s imports %s, which is not among %v", f.path, p, allowed)
			}
		}
	}
}
