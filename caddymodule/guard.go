package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/lb"
)

// PoolConfig is a pool: its replicas and how to treat them, and the guard over
// its deploys.
type PoolConfig struct {
	lb.Config
	// Guard compares the versions of a rollout, and holds back one that is
	// worse. It needs a version_header.
	Guard deploy.GuardConfig `json:"guard,omitzero"`
}

// Validate reports every mistake at once.
func (c PoolConfig) Validate() error { return errors.Join(c.Config.Validate(), c.Guard.Validate()) }

// parseGuard reads "guard off" or "guard { … }".
func parseGuard(d *caddyfile.Dispenser, g *deploy.GuardConfig) error {
	switch args := d.RemainingArgs(); {
	case len(args) == 1 && args[0] == "off":
		g.Off = true
		return noBlock(d, "guard off")
	case len(args) > 0:
		return d.Errf("guard: spare argument %q: want off, or a block", args[0])
	}
	return readBlock(d, words{
		"errors": ratio(&g.Errors),
		"latency": parsed(&g.Latency, func(text string) (float64, error) {
			factor, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return 0, fmt.Errorf("%q: want a factor such as 2", text)
			}
			return factor, nil
		}),
		"assets":    ratio(&g.Assets),
		"warmup":    duration(&g.Warmup),
		"fall_back": alone(&g.FallBack),
	})
}

// asset reports whether a rule says that the request is for an asset, and
// whether its name changes with its content.
func asset(v *cacherules.Verdict) (asset, named bool) {
	if v == nil {
		return false, false
	}
	return v.Fingerprinted || v.Kind == "static", v.Fingerprinted
}

// noteAnswer tells the guard what a visitor got. began is zero for what it does
// not want to know.
func (p *pool) noteAnswer(r *http.Request, ex *exchange, resp *http.Response, began time.Time) {
	if began.IsZero() || resp == nil || ex.trace.Refused != "" {
		return
	}
	now := time.Now()
	a := deploy.Answer{Version: ex.trace.Version, Path: r.URL.Path, Client: ex.trace.Client}
	if a.Asset, a.Named = asset(ex.verdict); a.Asset {
		a.Missing, a.HTML = missing(resp), pageInstead(r, resp)
		a.Asset = a.Missing || resp.StatusCode == http.StatusOK
	}
	// Where other versions were asked too, the time is not that of one.
	asked := a.Named && (ex.trace.Rescued || a.Missing || a.HTML)
	if r.ContentLength == 0 && resp.StatusCode < http.StatusInternalServerError && !asked {
		a.Took = now.Sub(began) - ex.trace.Waited
	}
	p.answers.Note(now, a)
}

func missing(resp *http.Response) bool {
	return resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone
}

// pageInstead reports a page where an asset was asked for, as from a server that
// sends every unknown path to the front page.
func pageInstead(r *http.Request, resp *http.Response) bool {
	return resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && !strings.HasSuffix(r.URL.Path, ".html")
}

// absent reports that a replica does not have the asset, which one of another
// version may have (DESIGN, 8.7).
func absent(r *http.Request, resp *http.Response) bool { return missing(resp) || pageInstead(r, resp) }

// noting is when the answer to a request began, if the guard wants to know of it.
func (p *pool) noting(ex *exchange) time.Time {
	if is, _ := asset(ex.verdict); p.answers.Wanted(is) {
		return time.Now()
	}
	return time.Time{}
}
