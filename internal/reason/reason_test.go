package reason

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	refused := errors.New("refused")
	client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) { return nil, refused })}
	_, err := client.Get("http://127.0.0.1/hook?key=secret")
	if err == nil || !strings.Contains(err.Error(), "secret") {
		t.Fatalf("%v: want the URL in it, or there is nothing to leave out", err)
	}
	for name, err := range map[string]error{"of a client": err, "wrapped": fmt.Errorf("ask: %w", err), "of nobody": refused} {
		if got := Of(err); got != refused {
			t.Errorf("%s: %v: want %v alone", name, got, refused)
		}
	}
	if got := Of(nil); got != nil {
		t.Errorf("of none: %v", got)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }
