package purge

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/reason"
	"github.com/edgegw/edge/internal/unit"
)

// HTTPVerifier looks at URLs as a visitor would, from here: through whatever
// CDN is on the way, which is one data centre of it only. It is safe for
// concurrent use.
type HTTPVerifier struct {
	headers []string
	client  *http.Client
}

// NewHTTPVerifier makes a verifier that reads the application's version from
// the first of the named headers that an answer has; without a name it cannot
// tell versions apart.
func NewHTTPVerifier(versionHeaders ...string) *HTTPVerifier {
	return &HTTPVerifier{headers: versionHeaders, client: &http.Client{
		Transport: transport,
		Timeout:   attemptTimeout,
		// The redirect is the answer that was asked about.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Verify fetches the URL. It is OK when the answer is no server error, is of
// the expected version if there is one, and is younger than since if a cache
// has added an Age (RFC 9111, 5.1).
func (v *HTTPVerifier) Verify(ctx context.Context, url, expect string, since time.Time) Verification {
	seen := Verification{URL: url}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		seen.Error = reason.Of(err).Error()
		return seen
	}
	r.Header.Set("User-Agent", "edge")
	res, err := v.client.Do(r)
	if err != nil {
		seen.Error = reason.Of(err).Error()
		return seen
	}
	_ = res.Body.Close() // only the header is of interest
	seen.Status = res.StatusCode
	seen.Cache = res.Header.Get("Cf-Cache-Status")
	seen.Age = unit.Duration(age(res.Header))
	for _, name := range v.headers {
		if seen.Version = strings.TrimSpace(res.Header.Get(name)); seen.Version != "" {
			break
		}
	}
	switch elapsed := time.Since(since); {
	case res.StatusCode >= 500:
		seen.Error = res.Status
	case expect != "" && len(v.headers) == 0:
		seen.Error = "no version header is configured"
	case seen.Version != expect && expect != "":
		seen.Error = fmt.Sprintf("version %q: want %q", seen.Version, expect)
	case seen.Age.D() > elapsed+time.Second: // an Age is in whole seconds, rounded either way
		seen.Error = "a copy from before the purge"
	default:
		seen.OK = true
	}
	return seen
}

// age is 0 when no cache has said anything readable.
func age(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(strings.TrimSpace(h.Get("Age")), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
