package file

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// node is a value of the file.
type node struct {
	ast     ast.Node
	line    int
	path    string              // such as programs.web.log
	anchors map[string]ast.Node // those of the whole file, by name
}

// entry is a key of a table with its value; at is the key.
type entry struct {
	key       string
	at, value node
}

// wrong makes an *Error that begins with the path of n.
func (n node) wrong(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if n.path != "" {
		text = n.path + ": " + text
	}
	return &Error{Line: n.line, Text: text}
}

// parseYAML returns the one document of the text.
func parseYAML(text []byte) (root node, err error) {
	defer func() {
		if p := recover(); p != nil { // the parser meets what its authors did not expect
			err = &Error{Line: 1, Text: fmt.Sprintf("it is not YAML: %v", p)}
		}
	}()
	root = node{line: 1, anchors: map[string]ast.Node{}}
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		return root, syntaxError(err)
	}
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if root.ast != nil {
			return root, &Error{Line: lineOf(doc.Body), Text: "a second document begins here: one file has one"}
		}
		root.ast, root.line = doc.Body, lineOf(doc.Body)
	}
	if root.ast == nil {
		return root, nil
	}
	named := anchors{byName: root.anchors}
	ast.Walk(&named, root.ast)
	if named.twice != nil {
		return root, &Error{Line: lineOf(named.twice), Text: "&" + named.twice.Name.GetToken().Value + " is there twice: give it another name"}
	}
	return root, nil
}

func syntaxError(err error) error {
	line, text := 1, err.Error()
	if e, ok := err.(interface {
		GetMessage() string
		GetToken() *token.Token
	}); ok {
		text = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			line = t.Position.Line
		}
	}
	return &Error{Line: line, Text: "it is not YAML: " + strings.ReplaceAll(text, "\n", " ")}
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return max(t.Position.Line, 1)
	}
	return 1
}

// at returns the value v below n.
func (n node) at(v ast.Node, name string) node {
	child := node{ast: v, line: n.line, path: name, anchors: n.anchors}
	if n.path != "" {
		child.path = n.path + "." + name
	}
	if v != nil {
		child.line = lineOf(v)
	}
	return child
}

// anchors notes what has a name for aliases; it walks the whole file.
type anchors struct {
	byName map[string]ast.Node
	twice  *ast.AnchorNode
}

// Visit is ast.Visitor's.
func (a *anchors) Visit(n ast.Node) ast.Visitor {
	if v, ok := n.(*ast.AnchorNode); ok {
		name := v.Name.GetToken().Value
		if a.byName[name] != nil {
			a.twice = v
		}
		a.byName[name] = v.Value
	}
	return a
}

// maxSteps is how often an alias may stand for another one.
const maxSteps = 16

// resolve follows anchors and aliases.
func (n node) resolve() (node, error) {
	for range maxSteps {
		switch v := n.ast.(type) {
		case *ast.AnchorNode:
			n.ast = v.Value
		case *ast.AliasNode:
			name := v.Value.GetToken().Value
			target, ok := n.anchors[name]
			if !ok {
				return n, n.wrong("*%s: there is no &%s", name, name)
			}
			n.ast = target
		case *ast.TagNode:
			return n, n.wrong("tags such as %s are not supported: leave it out", v.Start.Value)
		default:
			return n, nil
		}
	}
	return n, n.wrong("this alias stands for itself: write the value out")
}

// table returns the keys of n in their order.
func (n node) table() ([]entry, error) {
	n, err := n.resolve()
	if err != nil {
		return nil, err
	}
	var pairs []*ast.MappingValueNode
	switch v := n.ast.(type) {
	case *ast.MappingNode:
		pairs = v.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{v}
	case nil, *ast.NullNode:
		return nil, n.wrong("there is nothing here: write keys below it, or {}")
	default:
		return nil, n.wrong("write keys with values here, such as 'key: value'")
	}
	entries := make([]entry, 0, len(pairs))
	for _, pair := range pairs {
		at := n.at(pair.Key, "")
		at.path = n.path
		if _, merge := pair.Key.(*ast.MergeKeyNode); merge {
			return nil, at.wrong("<< is not supported: write the keys out")
		}
		key, err := at.text()
		if err != nil {
			return nil, err
		}
		value := n.at(pair.Value, key)
		if pair.Value == nil {
			value.line = at.line
		}
		entries = append(entries, entry{key: key, at: at, value: value})
	}
	return entries, nil
}

// list returns the values of n.
func (n node) list() (values []node, isList bool, err error) {
	n, err = n.resolve()
	if err != nil {
		return nil, false, err
	}
	seq, ok := n.ast.(*ast.SequenceNode)
	if !ok {
		return nil, false, nil
	}
	for i, v := range seq.Values {
		child := n.at(v, "")
		child.path = fmt.Sprintf("%s[%d]", n.path, i)
		values = append(values, child)
	}
	return values, true, nil
}

// text returns a single value as it is written: 08 stays 08, no stays no.
func (n node) text() (string, error) {
	n, err := n.resolve()
	if err != nil {
		return "", err
	}
	switch v := n.ast.(type) {
	case *ast.StringNode:
		return v.Value, nil
	case *ast.LiteralNode:
		return v.Value.Value, nil
	case nil, *ast.NullNode:
		return "", n.wrong("there is no value: write one, or \"\" for an empty one")
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.ast.GetToken().Value, nil
	default:
		return "", n.wrong("write a single value here")
	}
}
