package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// console prints lines for people. What a gateway or a website said is among
// them, so nothing but printable text gets through: no escape sequence of a
// cache tag reaches a terminal.
type console struct {
	w    io.Writer
	seen map[string]bool
}

// say prints one line.
func (c *console) say(format string, args ...any) {
	// There is no one to tell that the terminal is gone.
	_, _ = fmt.Fprintln(c.w, printable(fmt.Sprintf(format, args...)))
}

// once prints a line unless it was printed before.
func (c *console) once(line string) {
	if c.seen == nil {
		c.seen = make(map[string]bool)
	}
	if !c.seen[line] {
		c.seen[line] = true
		c.say("%s", line)
	}
}

// complain prints every line of an error.
func (c *console) complain(command string, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		c.say("edge %s: %s", command, line)
	}
}

// printable replaces what is not: RFC 9110 lets field values hold any byte
// above 0x7f, and JSON any character at all.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// printJSON prints exactly one object.
func printJSON(w io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}
