// Package without lets tests run the operating-system packages as if the
// kernel lacked one of its features. It decides nothing else and is not meant
// for users: what is taken away is always replaced by the slower way that an
// older kernel would get.
package without

import (
	"os"
	"strings"
	"sync"
)

// Variable names the environment variable that lists, separated by commas, the
// features to do without. It is read once, at the first question, and is
// inherited by every process that a test starts.
const Variable = "PAIRGUARD_TEST_WITHOUT"

var missing = sync.OnceValue(func() map[string]bool { return parse(os.Getenv(Variable)) })

// Feature reports whether name is to be treated as missing. The names in use:
// "pidfd", "peerpidfd" and "forker" (internal/proc, internal/ipc) and "abstract"
// (internal/pairdir). Safe for concurrent use.
func Feature(name string) bool { return missing()[name] }

func parse(list string) map[string]bool {
	var set map[string]bool
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if set == nil {
			set = make(map[string]bool)
		}
		set[name] = true
	}
	return set
}
