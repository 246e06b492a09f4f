package main

import (
	"bytes"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// lineRate is how many lines a second the drill's program prints.
const lineRate = 10_000

// newDrillLines is the program that the drill puts under supervisors.
func newDrillLines() *cobra.Command {
	return &cobra.Command{
		Use:    "lines FILE",
		Short:  "Print numbered lines until SIGTERM, then write their number into a file",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return printLines(args[0]) },
	}
}

// printLines prints each line with one write.
func printLines(total string) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	began := time.Now()
	var line []byte
	for n := int64(1); ; n++ {
		line = append(strconv.AppendInt(line[:0], n, 10), '\n')
		if _, err := os.Stdout.Write(line); err != nil {
			return err
		}
		ahead := time.Duration(n)*time.Second/lineRate - time.Since(began)
		if ahead < time.Millisecond {
			continue
		}
		select {
		case <-asked:
			return os.WriteFile(total, strconv.AppendInt(nil, n, 10), 0o600)
		case <-time.After(ahead):
		}
	}
}

// lineCount is what became of printed lines in a log.
type lineCount struct {
	printed int64
	lost    int64 // not in the log
	extra   int64 // in the log twice, out of order, or torn
}

// lineCounter reads a log of printLines.
type lineCounter struct {
	lineCount
	last int64
	part []byte // of a line whose end has not come yet
}

// Write never fails.
func (c *lineCounter) Write(b []byte) (int, error) {
	n := len(b)
	for {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		c.part = append(c.part, line...)
		if !whole {
			return n, nil
		}
		c.take(string(c.part))
		c.part, b = c.part[:0], rest
	}
}

func (c *lineCounter) take(line string) {
	number, err := strconv.ParseInt(line, 10, 64)
	if err != nil || number <= c.last {
		c.extra++
		return
	}
	c.lost += number - c.last - 1
	c.last = number
}

// finish counts what is missing at the end of all that was printed.
func (c *lineCounter) finish(printed int64) lineCount {
	if len(c.part) > 0 { // torn
		c.extra++
	}
	if c.last > printed {
		c.extra += c.last - printed
	}
	c.lost += max(printed-c.last, 0)
	c.printed = printed
	return c.lineCount
}
