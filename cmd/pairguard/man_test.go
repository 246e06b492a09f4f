package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pairguard/pairguard"
)

const manPage = "../../docs/man/pairguard.1"

// section returns the text below a heading of the manual page.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n.Sh "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %s", manPage, heading)
	}
	text, _, _ := strings.Cut(rest, "\n.Sh ")
	return text
}

func readManPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(manPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every command has a paragraph of its own in Options, which names each of its
// flags; and no flag stands there that the command does not have.
func TestManPageHasEveryFlag(t *testing.T) {
	options := section(t, readManPage(t), "OPTIONS")
	paragraphs := map[string]string{}
	for _, part := range strings.Split(options, "\n.Ss ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		paragraphs[name] = text
	}
	named := regexp.MustCompile(`(?m)^\.It (?:Fl \S+ , )?Fl -([a-z-]+)`)
	for _, cmd := range newRoot().Commands() {
		if cmd.Name() == "help" || cmd.Hidden {
			continue
		}
		text, ok := paragraphs[cmd.Name()]
		if !ok {
			t.Errorf("OPTIONS has no subsection %q", cmd.Name())
		}
		inPage := map[string]bool{}
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			inPage[m[1]] = true
		}
		checkFlags(t, cmd, inPage)
		delete(paragraphs, cmd.Name())
	}
	for name := range paragraphs {
		t.Errorf("OPTIONS has a subsection %q, but there is no such command", name)
	}
}

func checkFlags(t *testing.T, cmd *cobra.Command, inPage map[string]bool) {
	t.Helper()
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !inPage[f.Name] {
			t.Errorf("%s --%s is missing in OPTIONS", cmd.Name(), f.Name)
		}
		delete(inPage, f.Name)
	})
	for name := range inPage {
		t.Errorf("OPTIONS of %s has --%s, which does not exist", cmd.Name(), name)
	}
}

func TestManPageHasEveryExitCode(t *testing.T) {
	text := section(t, readManPage(t), "EXIT CODES")
	items := regexp.MustCompile(`(?m)^\.It (\d+)$`).FindAllStringSubmatch(text, -1)
	if len(items) != len(exitCodes) {
		t.Errorf("EXIT CODES has %d codes, the command %d", len(items), len(exitCodes))
	}
	for _, code := range exitCodes {
		if !strings.Contains(text, "\n.It "+strconv.Itoa(code)+"\n") {
			t.Errorf("EXIT CODES does not have %d", code)
		}
	}
}

func TestManPageHasEveryHeading(t *testing.T) {
	page := readManPage(t)
	at := 0
	for _, heading := range []string{"SYNOPSIS", "OPTIONS", "SIGNALS", "OPERATION", "FILES", "ENVIRONMENT", "EXIT CODES", "EXAMPLES"} {
		i := strings.Index(page, "\n.Sh "+heading+"\n")
		if i < at {
			t.Errorf("heading %s is missing or out of order", heading)
		}
		at = max(at, i)
	}
}

// The signals that are caught and the phases that status adds stand there, too.
func TestManPageHasSignalsAndPhases(t *testing.T) {
	page := readManPage(t)
	for _, name := range []string{"SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGTSTP", "SIGCONT"} {
		if !strings.Contains(section(t, page, "SIGNALS"), name) {
			t.Errorf("SIGNALS does not have %s", name)
		}
	}
	for _, phase := range []string{pairguard.PhaseSilent, pairguard.PhaseDown, pairguard.PhaseEnded} {
		if !strings.Contains(section(t, page, "OPERATION"), "\n.It "+phase+"\n") {
			t.Errorf("OPERATION does not explain the phase %s", phase)
		}
	}
}
