package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/pairguard/pairguard"

// goFile is one parsed file of the module, for whatever system it is.
type goFile struct {
	path string // from the module's root, with slashes
	dir  string // "." for the root package
	test bool
	ast  *ast.File
	fset *token.FileSet
}

func (f goFile) line(p token.Pos) int { return f.fset.Position(p).Line }

// imports maps each imported path to the name that the file uses for it.
func (f goFile) imports() map[string]string {
	names := map[string]string{}
	for _, spec := range f.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		names[p] = path.Base(p)
		if spec.Name != nil {
			names[p] = spec.Name.Name
		}
	}
	return names
}

// selectors calls f for each NAME of pkg.NAME in the file.
func (f goFile) selectors(pkg string, call func(name string, pos token.Pos)) {
	local, imported := f.imports()[pkg]
	if !imported {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				call(sel.Sel.Name, sel.Pos())
			}
		}
		return true
	})
}

// root is the module's root, which holds go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("the module's root is not where this test looks: %v", err)
	}
	return dir
}

// files lists the module's files with the suffix, from the root, without testdata and what begins with '.' or '_'.
func files(t *testing.T, suffix string) (paths []string) {
	t.Helper()
	top := os.DirFS(root(t))
	err := fs.WalkDir(top, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != "." && (name == "testdata" || name[0] == '.' || name[0] == '_') {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, suffix) {
			paths = append(paths, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

var parsed struct {
	once  sync.Once
	files []goFile
}

// goFiles parses all Go files once.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	parsed.once.Do(func() {
		for _, p := range files(t, ".go") {
			fset := token.NewFileSet()
			tree, err := parser.ParseFile(fset, filepath.Join(root(t), p), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Error(err)
				continue
			}
			parsed.files = append(parsed.files, goFile{
				path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"), ast: tree, fset: fset,
			})
		}
	})
	if len(parsed.files) == 0 {
		t.Fatal("no Go files found")
	}
	return parsed.files
}

func read(t *testing.T, p string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), p))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
