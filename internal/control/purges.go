package control

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

const (
	// MaxBody bounds the body of an order.
	MaxBody = 256 << 10
	// MaxWait is the longest that GET purge/{id}?wait= may ask for.
	MaxWait = 2 * time.Minute
	// waitMargin is left for writing the answer after a wait.
	waitMargin = 10 * time.Second
	// defaultList and maxList bound GET purge?limit=.
	defaultList = 20
	maxList     = 1000
	// maxKey is the longest idempotency key: purge.Order has the same.
	maxKey = 255
)

// nothing stands in JSON as an empty list where nil would be null.
var nothing = []purge.Record{}

// PurgeRequest is the body of POST purge: what a caller may say of an order.
// The gateway fills in the rest of purge.Order.
type PurgeRequest struct {
	purge.Selectors
	// Soft marks copies stale, where hard purging removes them.
	Soft bool `json:"soft,omitempty"`
	// Expect is the version that every replica must report before anything
	// is purged.
	Expect string `json:"expect,omitempty"`
	// Verify lists URLs to be fetched afterwards.
	Verify []string `json:"verify,omitempty"`
	// Warm lists URLs to be fetched when all is purged.
	Warm []string `json:"warm,omitempty"`
	// Reason is for people.
	Reason string `json:"reason,omitempty"`
	// Deadline is when retrying ends. Default: the gateway's.
	Deadline time.Time `json:"deadline,omitzero"`
	// DryRun plans the order and applies nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// IdempotencyKey may be given here or as the field Idempotency-Key.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

func (c *call) submitPurge() error {
	var request PurgeRequest
	if err := c.readBody(MaxBody, &request); err != nil {
		return err
	}
	key, err := c.idempotencyKey(request.IdempotencyKey)
	if err != nil {
		return err
	}
	if request.Selectors.Len() == 0 {
		return purge.ErrNoSelector
	}
	record, err := c.gateway.Submit(c.r.Context(), purge.Order{
		IdempotencyKey: key,
		Selectors:      request.Selectors,
		Soft:           request.Soft,
		Expect:         request.Expect,
		Verify:         request.Verify,
		Warm:           request.Warm,
		Reason:         request.Reason,
		Actor:          c.actor + " from " + c.client,
		Deadline:       request.Deadline,
		DryRun:         request.DryRun,
		Traceparent:    c.traceparent(),
	})
	if err != nil {
		return err
	}
	c.report(Event{Kind: PurgeSubmitted, ID: record.ID, Detail: describe(request)})
	if request.DryRun {
		// There is nothing to come back for.
		return c.answer(http.StatusOK, record)
	}
	// Relative: only the site knows where this API is mounted.
	c.w.Header().Set("Location", "purge/"+url.PathEscape(record.ID))
	return c.answer(http.StatusAccepted, record)
}

// traceparent is the trace that the call belongs to, or "" for none: what is not
// one is ignored (W3C Trace Context, 4.3).
func (c *call) traceparent() string {
	field := c.r.Header["Traceparent"]
	if len(field) != 1 || !traceparent.MatchString(field[0]) {
		return ""
	}
	return field[0]
}

var traceparent = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// idempotencyKey is the body's or the header's, which may be quoted as a
// structured field (RFC 8941, 3.3.3) or stand bare.
func (c *call) idempotencyKey(body string) (string, error) {
	field := c.r.Header.Get("Idempotency-Key")
	if len(field) >= 2 && strings.HasPrefix(field, `"`) && strings.HasSuffix(field, `"`) {
		field = field[1 : len(field)-1]
	}
	key := body
	if key == "" {
		key = field
	}
	var want string
	switch {
	case field != "" && body != "" && field != body:
		want = fmt.Sprintf("the same as the field Idempotency-Key, %q", shorten(field))
	case len(key) > maxKey, strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		want = "at most 255 characters of printable ASCII without spaces"
	default:
		return key, nil
	}
	return "", invalid(http.StatusUnprocessableEntity, Mistake{"idempotency_key", shorten(key), want})
}

// describe sums an order up for the log, without its ten thousand lines.
func describe(r PurgeRequest) string {
	var parts []string
	for _, kind := range []struct {
		name  string
		count int
	}{
		{"urls", len(r.URLs)}, {"tags", len(r.Tags)}, {"prefixes", len(r.Prefixes)},
		{"hosts", len(r.Hosts)}, {"versions", len(r.Versions)},
	} {
		if kind.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", kind.count, kind.name))
		}
	}
	if r.Everything {
		parts = append(parts, "everything")
	}
	mode := "hard"
	if r.Soft {
		mode = "soft"
	}
	if r.DryRun {
		mode += ", dry run"
	}
	text := mode + ": " + strings.Join(parts, ", ")
	if r.Reason != "" {
		text += ": " + shorten(r.Reason)
	}
	return text
}

func (c *call) listPurges() error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	records := c.gateway.Purges(c.r.Context(), limit)
	if records == nil {
		records = nothing
	}
	return c.answer(http.StatusOK, map[string]any{"purges": records})
}

// limit is how many records a list may have.
func (c *call) limit() (int, error) {
	if !c.query.Has("limit") {
		return defaultList, nil
	}
	text := c.query.Get("limit")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxList {
		return 0, invalid(http.StatusBadRequest, Mistake{"limit", shorten(text), "a number from 1 to 1000"})
	}
	return n, nil
}

func (c *call) getPurge() error {
	record, ok, err := awaited(c, c.gateway.Purge, c.gateway.WaitPurge, func(r purge.Record) bool { return r.State.Final() })
	switch {
	case err != nil:
		return err
	case !ok:
		return unknownPurge(c.id)
	}
	return c.answer(http.StatusOK, record)
}

// awaited finds a record by the path's id. If it is not final, and the caller
// wants to wait, it is answered when it is, or as it stands after that time.
func awaited[R any](c *call, get func(string) (R, bool), wait func(context.Context, string) (R, bool), final func(R) bool) (R, bool, error) {
	patience, err := c.wait()
	record, ok := get(c.id)
	if err != nil || !ok || patience == 0 || final(record) {
		return record, ok, err
	}
	c.holdOpen(patience + waitMargin)
	ctx, cancel := context.WithTimeout(c.r.Context(), patience)
	defer cancel()
	record, ok = wait(ctx, c.id)
	return record, ok, nil
}

func (c *call) wait() (time.Duration, error) {
	if !c.query.Has("wait") {
		return 0, nil
	}
	text := c.query.Get("wait")
	wait, err := unit.ParseDuration(text)
	if err != nil || wait.D() > MaxWait {
		return 0, invalid(http.StatusBadRequest, Mistake{"wait", shorten(text), "a duration of at most 2m, such as 30s"})
	}
	return wait.D(), nil
}

// holdOpen keeps the server's time-outs off a request that waits on purpose. A
// read time-out would otherwise end its context: net/http reads on while the
// handler runs, to notice a caller that leaves, and takes the time-out for one.
func (c *call) holdOpen(d time.Duration) {
	controller := http.NewResponseController(c.w)
	until := time.Now().Add(d)
	// Not every writer can; the wait is then as long as the server permits,
	// and the caller gets the record as it stands.
	_ = controller.SetReadDeadline(until)
	_ = controller.SetWriteDeadline(until)
}

func (c *call) cancelPurge() error {
	if err := c.gateway.CancelPurge(c.id); err != nil {
		return err
	}
	c.report(Event{Kind: PurgeCanceled, ID: c.id})
	record, ok := c.gateway.Purge(c.id)
	if !ok {
		return unknownPurge(c.id)
	}
	return c.answer(http.StatusOK, record)
}

func unknownPurge(id string) error { return fmt.Errorf("purge %q: %w", shorten(id), purge.ErrUnknown) }
