package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Played is what a configuration made of a request.
type Played struct {
	Verdict Verdict
	Hit     bool  // the visitor did not wait for the origin
	Asked   bool  // the origin was asked
	Bytes   int64 // of the body that came from it
}

// Player plays a request in a configuration, which remembers.
type Player interface {
	Play(*Line) (Played, error)
}

// Config is what to replay.
type Config struct {
	Log  io.Reader
	Name string // of the log, for errors
	// Candidate is the configuration that is tried. Against is the one that it is
	// compared with; nil for what the log says.
	Candidate, Against Player
	// Progress is told now and then how far it has come. Nil for nobody.
	Progress func(bytes, lines int64)
}

// Report is what came of it.
type Report struct {
	Lines     int64     `json:"lines"`
	Requests  int64     `json:"requests"`
	Other     int64     `json:"other_lines"` // no records of requests, or a last one that is not whole
	First     time.Time `json:"first,omitzero"`
	Last      time.Time `json:"last,omitzero"`
	Before    Side      `json:"before"`
	After     Side      `json:"after"`
	Changes   []Change  `json:"changes"`
	Uncounted int64     `json:"changes_uncounted,omitempty"` // requests of further URLs
}

const (
	maxLine      = 16 << 20
	progressStep = 4096 // lines
)

// Run replays the log. An error names the line.
func Run(ctx context.Context, c Config) (Report, error) {
	t := tally{changes: make(map[changed]int64)}
	report := Report{}
	lines := bufio.NewReaderSize(c.Log, 1<<20)
	var read int64
	for {
		text, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return report, fmt.Errorf("%s:%d: %w", c.Name, report.Lines+1, err)
		}
		torn := err != nil
		if len(text) == 0 && torn {
			break
		}
		report.Lines++
		read += int64(len(text))
		if report.Lines%progressStep == 0 {
			if ctx.Err() != nil {
				return report, context.Cause(ctx)
			}
			if c.Progress != nil {
				c.Progress(read, report.Lines)
			}
		}
		if err := t.take(bytes.TrimSpace(text), c, &report); err != nil {
			if torn { // it is still being written
				report.Other++
				break
			}
			return report, fmt.Errorf("%s:%d: %w", c.Name, report.Lines, err)
		}
	}
	report.First, report.Last, report.Before, report.After = t.first, t.last, t.before, t.after
	report.Changes, report.Uncounted = t.sorted(), t.uncounted
	return report, nil
}

// readLine reads up to and with a line's end. The text is good until the next one.
func readLine(from *bufio.Reader) ([]byte, error) {
	text, err := from.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return text, err
	}
	whole := bytes.Clone(text)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(whole) > maxLine {
			return nil, fmt.Errorf("line of more than %d bytes", maxLine)
		}
		text, err = from.ReadSlice('\n')
		whole = append(whole, text...)
	}
	return whole, err
}

func (t *tally) take(text []byte, c Config, report *Report) error {
	if len(text) == 0 {
		report.Other++
		return nil
	}
	l, err := parse(text)
	if errors.Is(err, errOther) {
		report.Other++
		return nil
	}
	if err != nil {
		return err
	}
	report.Requests++
	if t.first.IsZero() {
		t.first = l.At()
	}
	t.last = l.At()
	before := Played{Verdict: l.verdict(), Hit: l.Hit()}
	if before.Asked = !before.Hit && (l.Cache != "" || l.Attempts > 0); before.Asked && l.Cache != "revalidated" {
		before.Bytes = l.Size
	}
	if c.Against != nil {
		if before, err = c.Against.Play(&l); err != nil {
			return err
		}
	}
	after, err := c.Candidate.Play(&l)
	if err != nil {
		return err
	}
	t.before.add(before)
	t.after.add(after)
	t.change(&l, before.Verdict, after.Verdict)
	return nil
}

func (s *Side) add(p Played) {
	s.Requests++
	if p.Hit {
		s.Hits++
	}
	if p.Asked {
		s.Origin++
		s.Bytes += p.Bytes
	}
}
