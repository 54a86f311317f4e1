package lb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

func init() {
	Discoveries.Register("file", newFile, named.Spec{Args: []string{"/etc/edge/replicas"}})
}

// maxFile bounds the size of a file of addresses.
const maxFile = 1 << 20

// file reads one host:port a line. It reads the file again every interval
// rather than ask the kernel for changes: that sees atomic renames, bind
// mounts and network disks alike, and costs microseconds.
type file struct {
	path     string
	interval time.Duration
}

// newFile reads `file PATH { interval 1s }`.
func newFile(s named.Spec) (Discovery, error) {
	errs := s.Want(1, 1, "the path of a file", "interval")
	f := file{interval: time.Second}
	if len(s.Args) == 1 {
		f.path = s.Args[0]
	}
	if words, given := s.Options["interval"]; given {
		d, err := oneDuration("file interval", words)
		if err != nil {
			errs = append(errs, err)
		}
		f.interval = d
	}
	return f, errors.Join(errs...)
}

// oneDuration reads the words of an option that takes one positive duration.
func oneDuration(option string, words []string) (time.Duration, error) {
	if len(words) != 1 {
		return 0, fmt.Errorf("%s: got %d words: want one duration such as 1s", option, len(words))
	}
	d, err := unit.ParseDuration(words[0])
	if err != nil {
		return 0, fmt.Errorf("%s: %w", option, err)
	}
	if d == 0 {
		return 0, fmt.Errorf("%s 0: want a positive duration such as 1s", option)
	}
	return d.D(), nil
}

func (f file) Run(ctx context.Context, feed Feed) {
	var last []byte // what was reported, or refused
	var doubted bool
	for {
		text, err := f.read()
		switch {
		case err != nil:
			last = nil
			feed.Failed(err)
		case last == nil || !bytes.Equal(text, last):
			set, err := parseAddressFile(f.path, string(text))
			if err != nil {
				last = text
				feed.Failed(err)
				break
			}
			// A writer that truncates before it writes leaves the file empty
			// for a moment: believe it the second time.
			if len(set) == 0 && !doubted {
				doubted = true
				break
			}
			doubted, last = false, text
			feed.Found(set)
		}
		if !wait(ctx, f.interval) {
			return
		}
	}
}

func (f file) read() ([]byte, error) {
	handle, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	text, err := io.ReadAll(io.LimitReader(handle, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: larger than %s", f.path, unit.Bytes(maxFile))
	}
	if text == nil {
		text = []byte{}
	}
	return text, nil
}

// parseAddressFile reads one address a line; # begins a comment. It returns
// every bad line at once: half a file is not believed.
func parseAddressFile(path, text string) ([]Address, error) {
	set := []Address{}
	var errs []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		address, err := ParseAddress(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s, line %d: %w", path, number, err))
			continue
		}
		set = append(set, address)
	}
	return set, errors.Join(errs...)
}

// wait pauses for d; false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
