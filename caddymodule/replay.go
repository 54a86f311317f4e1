package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/cli"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/replay"
)

const replayLong = `
Reads an access log (Caddy's, format json), plays its requests through a candidate
configuration, and tells hit ratio, origin requests and origin bytes before and
after, and which URLs' verdicts change. Nothing is started, and nobody is asked:
rules and cache decide as they would have, at the times of the log.

Before is what the log says or, with --against FILE, what that configuration would
have done; give the one in force, for then what it wrote into Cache-Control is told
from what the application said, and both sides are counted in the same way.

What the log cannot tell is guessed: the answer to a hit is what the application
would have answered at that moment; nothing is evicted or purged; requests do not
overlap. Caddy redacts cookies: a request that the log says went past the cache by
its rule is taken to have had the cookies of without_cookie. Fields that the log's
format leaves out (request>headers, resp_headers) cannot decide anything.

LOG is a file, or - for standard input.

Exit codes: 0 done, 2 usage, a configuration or a line that is wrong.`

// replayConfig is what edge replay takes; the fields are its flags.
type replayConfig struct {
	candidate, against checkConfig
	log                string
	changes            int
	json               bool
}

func replayCommand(c *cobra.Command) {
	var k replayConfig
	c.Use = "replay LOG --config CANDIDATE [--against CURRENT]"
	c.Long = replayLong
	c.Args = cobra.ExactArgs(1)
	f := c.Flags()
	f.StringVarP(&k.candidate.config, "config", "c", "Caddyfile", "the candidate configuration")
	f.StringVar(&k.against.config, "against", "", "configuration to compare with (default: what the log says)")
	f.StringVarP(&k.candidate.adapter, "adapter", "a", "", adapterUsage)
	f.IntVar(&k.changes, "changes", 20, "how many changes to show")
	f.BoolVar(&k.json, "json", false, "print the report as JSON, with every change")
	run(c, func(ctx context.Context, args []string) int {
		k.log, k.against.adapter = args[0], k.candidate.adapter
		if err := replayLog(ctx, k, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintf(os.Stderr, "edge replay: %v\n", err)
			if errors.Is(err, context.Canceled) {
				return cli.ExitInterrupted
			}
			return cli.ExitUsage
		}
		return 0
	})
}

func replayLog(ctx context.Context, k replayConfig, stdout io.Writer, stderr *os.File) error {
	if k.changes < 0 {
		return fmt.Errorf("--changes %d: want 0 or more", k.changes)
	}
	from, size := os.Stdin, int64(0)
	if k.log != "-" {
		file, err := os.Open(k.log)
		if err != nil {
			return err
		}
		defer file.Close() // it was only read
		info, err := file.Stat()
		if err != nil {
			return err
		}
		from, size = file, info.Size()
	}
	c := replay.Config{Log: from, Name: k.log}
	before := "log"
	var against *player
	if k.against.config != "" {
		var err error
		if against, err = newPlayer(k.against, nil); err != nil {
			return fmt.Errorf("%s: %w", k.against.config, err)
		}
		defer func() { _ = against.app.Cleanup() }() // of what never started
		against.wrote = against
		c.Against, before = against, "against"
	}
	candidate, err := newPlayer(k.candidate, against)
	if err != nil {
		return fmt.Errorf("%s: %w", k.candidate.config, err)
	}
	defer func() { _ = candidate.app.Cleanup() }()
	c.Candidate = candidate
	if size > 0 && term.IsTerminal(int(stderr.Fd())) {
		c.Progress = progress(stderr, size)
		defer fmt.Fprint(stderr, "\r\x1b[K")
	}
	report, err := replay.Run(ctx, c)
	if err != nil {
		return err
	}
	if !k.json {
		return replay.Print(stdout, report, before, k.changes)
	}
	encoder := json.NewEncoder(stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// progress draws a bar on a terminal, anew at each hundredth.
func progress(w io.Writer, size int64) func(bytes, lines int64) {
	shown := int64(-1)
	return func(bytes, lines int64) {
		const width = 40
		percent := min(100, bytes*100/size)
		if percent == shown {
			return
		}
		shown = percent
		full := int(percent) * width / 100
		fmt.Fprintf(w, "\r[%s%s] %3d %%  %d lines", strings.Repeat("#", full), strings.Repeat(".", width-full), percent, lines)
	}
}

// player plays requests in a configuration that is provisioned and not started.
type player struct {
	app    *App
	wrote  *player // the configuration that wrote the log; nil if it is not known
	caches map[*Cache]*httpcache.Replay

	// at is the line that took way: what wrote a line is asked for it again.
	at  *replay.Line
	way *course
}

func newPlayer(k checkConfig, wrote *player) (*player, error) {
	app, err := provisioned(k)
	if err != nil {
		return nil, err
	}
	p := &player{app: app, wrote: wrote, caches: make(map[*Cache]*httpcache.Replay)}
	return p, nil
}

// Play is the verdict on a request of the log, and what the cache makes of it.
func (p *player) Play(l *replay.Line) (replay.Played, error) {
	c, err := p.courseOf(l)
	if err != nil {
		return replay.Played{}, err
	}
	asks := c.proxy != nil || strings.HasPrefix(c.answers, "reverse_proxy")
	verdict := ruled(c.verdict)
	if c.cache == nil {
		played := replay.Played{Verdict: replay.Verdict{Rule: verdict.Rule, Class: "no cache"}, Asked: asks}
		if asks {
			played.Bytes = l.Size
		}
		return played, nil
	}
	cache := p.caches[c.cache]
	if cache == nil {
		cache = httpcache.NewReplay(c.cache.handler.Policy, seenAsSent)
		p.caches[c.cache] = cache
	}
	withCookies(c.r, l, verdict)
	header, err := p.said(l)
	if err != nil {
		return replay.Played{}, err
	}
	o := cache.Play(httpcache.Past{At: l.At(), Request: c.r, Verdict: verdict, Status: l.Status, Header: header, Size: l.Size})
	return replay.Played{
		Verdict: replay.VerdictOf(verdict.Rule, string(o.Status), string(o.Reason)),
		Hit:     o.Status == httpcache.StatusHit || o.Status == httpcache.StatusStale, Asked: o.Asked, Bytes: o.Bytes,
	}, nil
}

func ruled(v *cacherules.Verdict) *cacherules.Verdict {
	if v == nil {
		return &cacherules.Unruled
	}
	return v
}

// seenAsSent leaves the scheme to the request: a log has no word of proxies.
func seenAsSent(r *http.Request) (scheme, target string) {
	_, target = seen(r)
	return "", target
}

func (p *player) courseOf(l *replay.Line) (*course, error) {
	if p.at == l {
		return p.way, nil
	}
	r, err := l.Ask()
	if err != nil {
		return nil, err
	}
	r.URL.Scheme, r.URL.Host = "http", l.Request.Host // by which course finds the server that listens
	if r.TLS != nil {
		r.URL.Scheme = "https"
	}
	way, err := p.app.course(r)
	if err == nil {
		p.at, p.way = l, way
	}
	return way, err
}

// withCookies gives a request whose cookies are redacted those for which the log
// says that it went past the cache.
func withCookies(r *http.Request, l *replay.Line, v *cacherules.Verdict) {
	if l.CacheReason != string(httpcache.ReasonRule) || !slices.Equal(r.Header["Cookie"], []string{"REDACTED"}) {
		return
	}
	for _, name := range v.WithoutCookie {
		r.Header["Cookie"] = append(r.Header["Cookie"], strings.TrimSuffix(name, "*")+"=")
	}
}

// said is the answer's header as the application sent it, as far as can be told:
// the log has what the rules have made of it. Where the configuration that wrote
// the log is known and would have written the same with nothing said, nothing was
// said; where it is not, a rule is taken to have written it, unless the reason is
// the application's own word.
func (p *player) said(l *replay.Line) (http.Header, error) {
	header := l.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	for _, name := range []string{"Age", "Cache-Status", "X-Request-Id", "Via"} {
		delete(header, name)
	}
	if l.Rule == "" {
		return header, nil
	}
	silent := header.Clone()
	for _, name := range lifetimes {
		delete(silent, name)
	}
	if p.wrote == nil {
		switch httpcache.Reason(l.CacheReason) {
		case httpcache.ReasonNoStore, httpcache.ReasonPrivate:
			return header, nil
		}
		return silent, nil
	}
	c, err := p.wrote.courseOf(l)
	if err != nil {
		return nil, err
	}
	v := ruled(c.verdict)
	withCookies(c.r, l, v)
	written := silent.Clone()
	v.Respond(cacherules.Response{Request: c.r, Status: l.Status, Header: written, Bypassed: v.Bypasses(c.r)})
	for _, name := range lifetimes {
		if !slices.Equal(written[name], header[name]) {
			return header, nil
		}
	}
	return silent, nil
}

// lifetimes are the fields that rules write.
var lifetimes = []string{"Cache-Control", "Expires", "Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control"}

var _ replay.Player = (*player)(nil)
