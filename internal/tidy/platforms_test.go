package tidy

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// notVerified begins the reason of a test that is skipped because nothing here can judge it, not because there is nothing to judge.
const notVerified = "not verified on Windows: "

// TestWhatWindowsWasNotTriedForIsListed: a test that is skipped with such a reason stands in the list of docs/platforms.md, and
// every test named there is skipped.
func TestWhatWindowsWasNotTriedForIsListed(t *testing.T) {
	const file, title = "docs/platforms.md", "## Not verified on Windows\n"
	_, list, found := strings.Cut(read(t, file), title)
	list, _, ends := strings.Cut(list, "\n## ")
	if !found || !ends {
		t.Fatalf("%s has no section %q", file, title)
	}
	listed := append(testName.FindAllString(list, -1), scriptName.FindAllString(list, -1)...)
	skipped := notVerifiedTests(t)
	for name, where := range skipped {
		if !slices.Contains(listed, name) {
			t.Errorf("%s: %s is skipped as %q and does not stand in %s", where, name, notVerified, file)
		}
	}
	for _, name := range listed {
		if skipped[name] == "" {
			t.Errorf("%s lists %s, which is not skipped as %q", file, name, notVerified)
		}
	}
	if len(skipped) == 0 {
		t.Error("no such test is found")
	}
}

// notVerifiedTests are the tests and scripts that are skipped with that reason, and where.
func notVerifiedTests(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, f := range goFiles(t) {
		if !f.test || f.dir == "internal/tidy" {
			continue
		}
		for _, d := range f.ast.Decls {
			ast.Inspect(d, func(n ast.Node) bool {
				reason, ok := n.(*ast.BasicLit)
				if !ok || reason.Kind != token.STRING {
					return true
				}
				if text, err := strconv.Unquote(reason.Value); err != nil || !strings.HasPrefix(text, notVerified) {
					return true
				}
				where := f.path + ":" + strconv.Itoa(f.line(n.Pos()))
				if fn, ok := d.(*ast.FuncDecl); ok && testName.FindString(fn.Name.Name) == fn.Name.Name {
					found[fn.Name.Name] = where
				} else {
					t.Errorf("%s: say it in the test itself", where)
				}
				return true
			})
		}
	}
	maps.Copy(found, notVerifiedScripts(t))
	return found
}

var scriptSkip = regexp.MustCompile(`(?m)^\[windows\] skip '` + notVerified)

func notVerifiedScripts(t *testing.T) map[string]string {
	t.Helper()
	scripts, err := filepath.Glob(filepath.Join(root(t), "cmd/pairguard/testdata/*/*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts found: %v", err)
	}
	found := map[string]string{}
	for _, p := range scripts {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if scriptSkip.Match(b) {
			found[filepath.Base(p)] = path.Base(filepath.Dir(p)) + "/" + filepath.Base(p)
		}
	}
	return found
}
