// Package cdn is the other half of the stand-in of Cloudflare: the caches that
// stand between visitors and a gateway. Data centres of a lower tier ask one of
// an upper tier, which asks the gateway. They keep what Cloudflare documents
// that it keeps, and where its documents are silent they do the worse: an
// answer that is under way when a purge comes is stored all the same, the tiers
// are purged one after the other, some time after the API has accepted the
// call, and a 304 does not renew the tags of a copy.
//
// It answers with whole bodies and knows no WebSockets, ranges or codings.
package cdn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

// Options say what a CDN is like.
type Options struct {
	// Origins are base URLs such as http://127.0.0.1:8080, of the same site.
	// They are asked in turn; the next one if one cannot be reached, as
	// Cloudflare does where a name has several addresses.
	Origins []string
	// Sites is the number of data centres of the lower tier. Default 2.
	Sites int
	// Spread is how long after its acceptance a purge has reached all tiers:
	// evenly, one after the other.
	Spread time.Duration
	// LowerFirst has purges reach the lower tier before the upper one.
	LowerFirst bool
	// Travel bounds the time that a copy takes from the upper tier to the
	// lower one; each takes another part of it.
	Travel time.Duration
	// ByExtension leaves pages alone, as Cloudflare does without a cache rule:
	// what is cached has an extension of a static file.
	ByExtension bool
}

// CDN is the tiers. It is safe for concurrent use.
type CDN struct {
	options Options
	origin  *origin
	upper   *tier
	lower   []*tier

	ctx   context.Context // ends at Close
	close context.CancelFunc
	work  sync.WaitGroup
}

// New makes a CDN with empty caches. All mistakes are reported at once.
func New(o Options) (*CDN, error) {
	if o.Sites == 0 {
		o.Sites = 2
	}
	var errs []error
	if len(o.Origins) == 0 {
		errs = append(errs, errors.New("origins: got none: want a URL such as http://127.0.0.1:8080"))
	}
	var bases []*url.URL
	for _, text := range o.Origins {
		base, err := url.Parse(text)
		if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.Path != "" && base.Path != "/" {
			errs = append(errs, fmt.Errorf("origin %q: want a URL without a path, such as http://127.0.0.1:8080", text))
			continue
		}
		bases = append(bases, base)
	}
	if o.Sites < 1 || o.Sites > 100 {
		errs = append(errs, fmt.Errorf("sites %d: want 1 to 100", o.Sites))
	}
	if o.Spread < 0 || o.Travel < 0 {
		errs = append(errs, fmt.Errorf("spread %v, travel %v: want no negative time", o.Spread, o.Travel))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c := &CDN{options: o, origin: newOrigin(bases)}
	c.ctx, c.close = context.WithCancel(context.Background())
	c.upper = newTier(c, "upper", c.fromOrigin)
	for i := range o.Sites {
		c.lower = append(c.lower, newTier(c, "lower-"+strconv.Itoa(i), c.fromUpper))
	}
	return c, nil
}

// Close ends what is under way, and waits for it.
func (c *CDN) Close() {
	c.close()
	c.work.Wait()
	c.origin.client.CloseIdleConnections()
}

// Sites is the number of data centres of the lower tier.
func (c *CDN) Sites() int { return len(c.lower) }

// Site is what visitors near one data centre of the lower tier see.
func (c *CDN) Site(i int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.visit(c.lower[i], w, r) })
}

// Purge takes a call that the API has accepted: it is the hook
// standin.Options.Accepted. It returns at once; the tiers follow.
func (c *CDN) Purge(call standin.Call) {
	order := append([]*tier{c.upper}, c.lower...)
	if c.options.LowerFirst {
		slices.Reverse(order)
	}
	for i, t := range order {
		t.purge(call, call.At.Add(c.options.Spread*time.Duration(i+1)/time.Duration(len(order))))
	}
}

func (c *CDN) fromOrigin(ctx context.Context, ask request) (*answer, error) {
	return c.origin.fetch(ctx, ask)
}
