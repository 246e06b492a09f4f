package tidy

import (
	"go/ast"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^()\s]+)(?:\s+"[^"]*")?\)`)
	heading      = regexp.MustCompile(`^#{1,6}\s+(.*)$`)
)

// prose is a Markdown file without its fenced blocks.
func prose(text string) string {
	var b strings.Builder
	fence := ""
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "" && strings.HasPrefix(trimmed, fence):
			fence = ""
		case fence != "":
		case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
			fence = trimmed[:3]
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, file := range files(t, ".md") {
		for _, m := range markdownLink.FindAllStringSubmatch(prose(read(t, file)), -1) {
			if why := brokenLink(t, file, m[1]); why != "" {
				t.Errorf("%s: link %s: %s", file, m[1], why)
			}
		}
	}
}

func brokenLink(t *testing.T, file, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		return err.Error()
	}
	if u.Scheme != "" || u.Host != "" {
		return ""
	}
	target := file
	if u.Path != "" {
		target = path.Join(path.Dir(file), u.Path)
	}
	if strings.HasPrefix(u.Path, "/") || strings.HasPrefix(target, "..") {
		return "leads out of the repository"
	}
	if _, err := os.Stat(filepath.Join(root(t), target)); err != nil {
		return "leads nowhere"
	}
	if u.Fragment != "" && strings.HasSuffix(target, ".md") && !anchors(read(t, target))[u.Fragment] {
		return "there is no such heading"
	}
	return ""
}

// anchors are the names by which the headings of a Markdown file can be linked to.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for line := range strings.Lines(prose(text)) {
		if m := heading.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			names[strings.Map(func(r rune) rune {
				switch {
				case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
					return unicode.ToLower(r)
				case r == ' ':
					return '-'
				}
				return -1
			}, m[1])] = true
		}
	}
	return names
}

// testNames are all tests, fuzz targets and examples of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, f := range goFiles(t) {
		if !f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

var (
	testName   = regexp.MustCompile(`\b(?:Test|Fuzz|Example)[A-Z]\w*`)
	scriptName = regexp.MustCompile(`\b[\w./-]+\.txtar\b`)
)

// TestFailureModesAreTested: each row of the tables in docs/failure-modes.md names its test, and that test is there.
func TestFailureModesAreTested(t *testing.T) {
	const file = "docs/failure-modes.md"
	if _, err := os.Stat(filepath.Join(root(t), file)); err != nil {
		t.Skipf("%s is not written yet", file)
	}
	names := testNames(t)
	rows := 0
	for _, row := range tableRows(prose(read(t, file))) {
		rows++
		named := testName.FindAllString(row, -1)
		scripts := scriptName.FindAllString(row, -1)
		if len(named)+len(scripts) == 0 {
			t.Errorf("%s: no test is named in: %s", file, row)
		}
		for _, name := range named {
			if !names[name] {
				t.Errorf("%s: there is no %s", file, name)
			}
		}
		for _, script := range scripts {
			if !scriptExists(t, script) {
				t.Errorf("%s: there is no %s", file, script)
			}
		}
	}
	if rows == 0 {
		t.Errorf("%s has no row in a table with a column for the test", file)
	}
}

// scriptExists: by its path from the root, or by its name among the scripts of the command.
func scriptExists(t *testing.T, script string) bool {
	t.Helper()
	for _, p := range []string{script, path.Join("cmd/pairguard/testdata/script", script)} {
		if _, err := os.Stat(filepath.Join(root(t), p)); err == nil {
			return true
		}
	}
	return false
}

// tableRows returns the body rows of those Markdown tables whose head has a column about tests.
func tableRows(text string) (rows []string) {
	var table []string
	flush := func() {
		if len(table) > 2 && strings.Contains(strings.ToLower(table[0]), "test") {
			rows = append(rows, table[2:]...)
		}
		table = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "|") {
			table = append(table, line)
			continue
		}
		flush()
	}
	flush()
	return rows
}

var (
	citation = regexp.MustCompile(`protocol\.md((?:,? (?:and )?§\d+(?:\.\d+)?)+)`)
	section  = regexp.MustCompile(`§(\d+(?:\.\d+)?)`)
	numbered = regexp.MustCompile(`(?m)^#{2,3} (\d+(?:\.\d+)?)\.? `)
)

// TestCitedSectionsExist: a comment that says "protocol.md §N" can be followed.
func TestCitedSectionsExist(t *testing.T) {
	spec := prose(read(t, "docs/protocol.md"))
	sections := map[string]bool{}
	for _, m := range numbered.FindAllStringSubmatch(spec, -1) {
		if sections[m[1]] {
			t.Errorf("docs/protocol.md has two sections %s", m[1])
		}
		sections[m[1]] = true
	}
	for _, m := range section.FindAllStringSubmatch(spec, -1) {
		if !sections[m[1]] {
			t.Errorf("docs/protocol.md refers to its section %s, which it does not have", m[1])
		}
	}
	cited := 0
	for _, suffix := range []string{".go", ".md"} {
		for _, file := range files(t, suffix) {
			if strings.HasPrefix(file, "internal/tidy/") {
				continue
			}
			for _, c := range citation.FindAllStringSubmatch(read(t, file), -1) {
				for _, m := range section.FindAllStringSubmatch(c[1], -1) {
					cited++
					if !sections[m[1]] {
						t.Errorf("%s cites protocol.md §%s, which does not exist", file, m[1])
					}
				}
			}
		}
	}
	if cited == 0 {
		t.Error("nothing cites docs/protocol.md: is the pattern still right?")
	}
}
