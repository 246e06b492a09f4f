package file

import (
	"fmt"
	"strings"
)

// splitWords splits a command as a shell does: by blanks, with '...', "..." and \. What
// a shell would do beyond that is refused, because nothing would do it here.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun := false
	for rest := s; rest != ""; {
		c := rest[0]
		rest = rest[1:]
		switch {
		case c == ' ' || c == '\t' || c == '\n':
			if begun {
				words = append(words, word.String())
				word.Reset()
				begun = false
			}
			continue
		case c == '\'':
			quoted, after, closed := strings.Cut(rest, "'")
			if !closed {
				return nil, fmt.Errorf("a ' is not closed: %q", s)
			}
			word.WriteString(quoted)
			rest = after
		case c == '"':
			after, err := doubleQuoted(&word, rest)
			if err != nil {
				return nil, fmt.Errorf("%w: %q", err, s)
			}
			rest = after
		case c == '\\':
			if rest == "" {
				return nil, fmt.Errorf("nothing follows the last \\: %q", s)
			}
			word.WriteByte(rest[0])
			rest = rest[1:]
		case strings.IndexByte("|&;<>()$`*?[", c) >= 0 || !begun && (c == '#' || c == '~'):
			return nil, forShell(string(c))
		default:
			word.WriteByte(c)
		}
		begun = true
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

func forShell(what string) error {
	return fmt.Errorf("%s means something to a shell, and there is none here: quote it, write the command as a list, or start a shell: [sh, -c, '...']", what)
}

// doubleQuoted writes what stands up to the closing quote, and returns what follows it.
func doubleQuoted(word *strings.Builder, rest string) (after string, err error) {
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '"':
			return rest[i+1:], nil
		case '$', '`':
			return "", forShell(string(c))
		case '\\':
			if i+1 < len(rest) && strings.IndexByte("\\\"$`\n", rest[i+1]) >= 0 {
				i++
				if rest[i] != '\n' {
					word.WriteByte(rest[i])
				}
				continue
			}
			word.WriteByte(c)
		default:
			word.WriteByte(c)
		}
	}
	return "", fmt.Errorf("a \" is not closed")
}
