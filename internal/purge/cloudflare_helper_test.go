package purge

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

const (
	zoneOne = "023e105f4ecef8ad9ca31a8372d0c353"
	zoneTwo = "9a7806061c88ada191ed06f989cc3dac"
)

// inProcess carries requests to a handler without a network, so that time can
// be made up.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (res *http.Response, err error) {
	defer func() {
		if recover() != nil {
			res, err = nil, errors.New("connection reset")
			if cause := r.Context().Err(); cause != nil {
				err = cause
			}
		}
	}()
	w := httptest.NewRecorder()
	w.Body = new(bytes.Buffer)
	p.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// newStandIn makes a stand-in whose token no other test uses: limits are shared
// by token.
func newStandIn(t *testing.T, plan string, change func(*standin.Options)) (*standin.Server, CloudflareConfig) {
	t.Helper()
	o := standin.Options{
		Token: "secret-" + rand.Text(), Plan: plan,
		Zones: []standin.Zone{{ID: zoneOne, Name: "example.com"}, {ID: zoneTwo, Name: "example.org"}},
	}
	if change != nil {
		change(&o)
	}
	s, err := standin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, CloudflareConfig{ZoneIDs: []string{zoneOne}, APIToken: o.Token, Plan: plan}
}

func newTarget(t *testing.T, s http.Handler, c CloudflareConfig) *cloudflare {
	t.Helper()
	target, err := newCloudflare(c, inProcess{s})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// until gives an order the time it may take.
func until(s Selectors, d time.Duration) Order {
	return Order{Selectors: s, Deadline: time.Now().Add(d)}
}

func numbered(format string, n int) []string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(format, i)
	}
	return items
}

// kindIs reports an error of the kind, "" for none.
func kindIs(err error, want Kind) bool {
	if want == "" {
		return err == nil
	}
	return kindOfError(err) == want
}

func purgeAt(t *testing.T, target Target, o Order) (Result, error) {
	t.Helper()
	return target.Purge(context.Background(), o, nil, nil)
}
