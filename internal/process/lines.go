package process

import (
	"bytes"
	"sync"
)

// The streams of a Line.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Line is one line that a child wrote, without its end.
type Line struct {
	Stream string
	Text   string
}

// maxLine bounds a line; longer ones are cut in several.
const maxLine = 16 << 10

// lines cuts what is written to it into lines.
type lines struct {
	stream string
	pass   func(Line)

	mu   sync.Mutex
	rest []byte // no whole line yet
}

// Write never fails, and never waits for more than pass does.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		next := end + 1
		if end < 0 || end > maxLine {
			if len(l.rest) <= maxLine {
				break
			}
			end, next = maxLine, maxLine
		}
		l.sayLocked(l.rest[:end])
		l.rest = l.rest[next:]
	}
	l.rest = append([]byte(nil), l.rest...) // Not to keep what was passed on.
	return len(p), nil
}

// flush passes on what is no whole line.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.sayLocked(l.rest)
		l.rest = nil
	}
}

func (l *lines) sayLocked(text []byte) {
	if l.pass != nil {
		l.pass(Line{l.stream, string(bytes.ToValidUTF8(bytes.TrimSuffix(text, []byte("\r")), []byte("\ufffd")))})
	}
}
