package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/purge"
)

const (
	// maxURLFile is above what an order may hold.
	maxURLFile = 16 << 20
	// maxVerify bounds the URLs that are fetched again and again.
	maxVerify = 100
)

// readOrder makes the order of the flags. Its error joins every mistake; no
// call is made then.
func (p *purging) readOrder(ctx context.Context) error {
	urls, fileErr := readURLFile(p.URLFile)
	selectors := purge.Selectors{
		URLs: slices.Concat(p.URLs, urls), Tags: p.Tags, Prefixes: p.Prefixes, Hosts: p.Hosts,
		Versions: p.Versions, Everything: p.Everything,
	}
	var selectorErr error
	// A file that could not be read says enough about the lack of selectors.
	if fileErr == nil || selectors.Len() > 0 {
		selectors, selectorErr = selectors.Normalize()
	}
	warm, left, warmErr := warmList(ctx, p.Warm)
	p.sayLeft(left)
	errs := []error{fileErr, selectorErr, checkVerify(p.Wait, p.Verify), warmErr}
	key := p.IdempotencyKey
	if key == "" {
		key = "edge-" + rand.Text()
	}
	p.order = control.PurgeRequest{
		Selectors: selectors, Soft: p.Soft, Expect: p.Expect, Warm: warm, Reason: p.Reason, DryRun: p.DryRun, IdempotencyKey: key,
	}
	return errors.Join(errs...)
}

// checkVerify gives every mistake in what is to be verified, and for how long.
func checkVerify(wait time.Duration, urls []string) error {
	var errs []error
	if wait < 0 {
		errs = append(errs, fmt.Errorf("wait %v: want a duration such as 3m", wait))
	}
	if len(urls) > maxVerify {
		errs = append(errs, fmt.Errorf("verify: got %d URLs: want at most %d", len(urls), maxVerify))
	}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			errs = append(errs, fmt.Errorf("verify %q: want an absolute URL such as https://www.example.com/", text))
		}
	}
	return errors.Join(errs...)
}

// readURLFile gives the URLs of a file. An empty list of changed pages is most
// likely a fault of what wrote it; it never means everything, nor nothing.
func readURLFile(name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	text, err := readWhole(name)
	if err != nil {
		return nil, fmt.Errorf("url file: %w", err)
	}
	urls, err := urlLines(name, text)
	if err != nil {
		return nil, fmt.Errorf("url file %w", err)
	}
	return urls, nil
}

func readWhole(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	// It was read only: closing it cannot lose anything.
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxURLFile+1))
	if err == nil && len(text) > maxURLFile {
		err = fmt.Errorf("%q: want at most %d bytes", name, maxURLFile)
	}
	return text, err
}

// urlLines are the lines of a file that are neither empty nor comments.
func urlLines(name string, text []byte) ([]string, error) {
	var urls []string
	for line := range strings.Lines(string(bytes.TrimPrefix(text, []byte("\ufeff")))) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			urls = append(urls, line)
		}
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("%q holds no URL: want one a line", name)
	}
	return urls, nil
}

// confirm asks before everything is purged.
func (p *purging) confirm(ctx context.Context) (int, error) {
	if !p.Everything || p.Yes || p.DryRun {
		return ExitDone, nil
	}
	if p.Confirm == nil {
		return ExitUsage, errors.New("everything: there is no terminal to ask on: want --yes with it")
	}
	p.err.say("Purge everything that %s and the CDN hold? Every page will be fetched from the application again.", p.client.Server)
	p.err.say("Type yes to go on:")
	answer := make(chan string, 1)
	// A read from a terminal cannot be cancelled: this goroutine ends with the
	// answer, or with the process.
	go func() {
		line, err := bufio.NewReader(io.LimitReader(p.Confirm, 1024)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = ""
		}
		answer <- line
	}()
	select {
	case line := <-answer:
		if strings.EqualFold(strings.TrimSpace(line), "yes") {
			return ExitDone, nil
		}
		return ExitUsage, errors.New("not confirmed: nothing was purged")
	case <-ctx.Done():
		return ExitInterrupted, errors.New("interrupted: nothing was purged")
	}
}
