package autoscale

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
)

const secretText = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// elsewhere is a driver's example that calls a server of ours; false for one
// that calls nobody.
func elsewhere(name, url string) (named.Spec, bool) {
	s := Drivers.Example(name)
	switch name {
	case "webhook":
		s.Args = []string{url + "/hook-8f31"}
		return s, true
	case "railway":
		options := map[string][]string{"api_url": {url}}
		for word, words := range s.Options {
			options[word] = words
		}
		options["token"] = []string{secretText}
		s.Options = options
		return s, true
	}
	return s, false
}

func TestEveryDriverRefusesWordsItDoesNotKnow(t *testing.T) {
	for _, name := range Drivers.Names() {
		if _, err := Drivers.New(Drivers.Example(name)); err != nil {
			t.Errorf("%s: its own example: %v", name, err)
		}
		for what, change := range map[string]func(*named.Spec){
			"a spare argument":  func(s *named.Spec) { s.Args = append([]string{"spare"}, s.Args...) },
			"an unknown option": func(s *named.Spec) { s.Options = map[string][]string{"nonsense": {"1"}} },
		} {
			s := Drivers.Example(name)
			change(&s)
			if _, err := Drivers.New(s); err == nil {
				t.Errorf("%s takes %s", name, what)
			}
		}
	}
}

// What goes wrong is an error that comes in time and holds no secret.
func TestEveryDriverSaysWhatGoesWrong(t *testing.T) {
	hang := make(chan struct{})
	for fault, answer := range map[string]http.HandlerFunc{
		"500":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"401":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who are you", http.StatusUnauthorized) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"a hang":     func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-hang },
		"a cut answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		},
		"a cut connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		server := httptest.NewServer(answer)
		for _, name := range Drivers.Names() {
			spec, calls := elsewhere(name, server.URL)
			if !calls {
				continue
			}
			d, err := Drivers.New(spec)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			err = d.Scale(ctx, Order{ID: "edge_1", Pool: "app", Replicas: 3})
			cancel()
			if err == nil {
				t.Errorf("%s: %s is no error", name, fault)
				continue
			}
			for _, secret := range []string{secretText, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "hook-8f31"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s: %s: the error tells a secret: %v", name, fault, err)
				}
			}
		}
		if fault == "a hang" {
			close(hang)
		}
		server.Close()
	}
}

func TestWhoAsksForPatienceGetsIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "77")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer server.Close()
	for _, name := range Drivers.Names() {
		spec, calls := elsewhere(name, server.URL)
		if !calls {
			continue
		}
		d, err := Drivers.New(spec)
		if err != nil {
			t.Fatal(err)
		}
		var later *Later
		if err := d.Scale(t.Context(), Order{ID: "edge_1", Replicas: 3}); !errors.As(err, &later) || later.After != 77*time.Second {
			t.Errorf("%s: %v: want to come again after 77 s", name, err)
		}
	}
}

func TestProcessRunsTheNumberHere(t *testing.T) {
	d, err := Drivers.New(named.Spec{Name: "process"})
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	if err := d.Scale(t.Context(), Order{Replicas: 4, Local: func(n int) { got = n }}); err != nil || got != 4 {
		t.Errorf("%d, %v: want 4", got, err)
	}
	if err := d.Scale(t.Context(), Order{Replicas: 4}); err == nil {
		t.Error("a pool that does not run its replicas: want an error")
	}
}
