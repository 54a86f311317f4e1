package cloudflareips

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var other = []string{"104.16.0.0/13", "172.64.0.0/13", "131.0.72.0/22", "2400:cb00::/32", "2a06:98c0::/29"}

// origin is an origin of lists that can fail, and counts.
type origin struct {
	mu     sync.Mutex
	ranges []string
	err    error
	asked  int
}

func (o *origin) ask(context.Context) ([]string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	return o.ranges, o.err
}

func (o *origin) set(ranges []string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ranges, o.err = ranges, err
}

func (o *origin) times() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func TestCheck(t *testing.T) {
	good := func(change string) []string { return append([]string{change}, other...) }
	for name, c := range map[string]struct {
		ranges []string
		want   string // in the error; empty for none
	}{
		"what is built in":   {strings.Fields("173.245.48.0/20 103.21.244.0/22 2400:cb00::/32 2606:4700::/32 2a06:98c0::/29"), ""},
		"everybody":          {good("0.0.0.0/0"), `range "0.0.0.0/0": want /10 or narrower`},
		"everybody by IPv6":  {good("::/0"), `range "::/0": want /24 or narrower`},
		"half of everybody":  {good("128.0.0.0/1"), `range "128.0.0.0/1": want /10 or narrower`},
		"a private one":      {good("10.64.0.0/16"), `range "10.64.0.0/16": want public addresses`},
		"a private IPv6 one": {good("fd00::/32"), `range "fd00::/32": want public addresses`},
		"this machine":       {good("127.0.0.0/16"), `range "127.0.0.0/16": want public addresses`},
		"IPv4 in IPv6":       {good("::ffff:104.16.0.0/110"), `range "::ffff:104.16.0.0/110": want public addresses`},
		"an address":         {good("104.16.0.1"), `range "104.16.0.1": want an address, a slash and a length`},
		"words":              {good("<html>"), `range "<html>": want an address, a slash and a length`},
		"nothing":            {nil, "0 ranges: want 5 to 500"},
		"too many":           {make([]string, 501), "501 ranges: want 5 to 500"},
		"all mistakes":       {[]string{"x", "10.0.0.0/12"}, "2 ranges: want 5 to 500\nrange \"x\": want an address, a slash and a length\nrange \"10.0.0.0/12\": want public addresses"},
	} {
		list, err := Check(c.ranges)
		if c.want == "" {
			if err != nil || len(list) != len(c.ranges) {
				t.Errorf("%s: %v, %v", name, list, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || list != nil {
			t.Errorf("%s: %v, %v: want no list and %q", name, list, err, c.want)
		}
	}
	if len(Builtin()) != 22 {
		t.Errorf("%d ranges are built in", len(Builtin()))
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("104.16.0.0/13 172.64.0.0/13 131.0.72.0/22 2400:cb00::/32 2a06:98c0::/29")
	f.Add("0.0.0.0/0 ::/0 1.2.3.4/8 ::ffff:1.2.3.4/99 fe80::1%eth0/64")
	strangers := []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.168.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("224.0.0.1")}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Check(strings.Fields(text))
		if (err == nil) == (list == nil) {
			t.Fatalf("%q: %v and %v: want a list or an error", text, list, err)
		}
		for _, prefix := range list {
			for _, stranger := range strangers {
				if prefix.Contains(stranger) {
					t.Errorf("%q: %s is taken for Cloudflare's", text, stranger)
				}
			}
		}
	})
}

func TestTheListIsAskedForEachDayAndTheLastGoodOneStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []Event
		var mu sync.Mutex
		s := NewSource(func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		})
		o := &origin{err: errors.New("no route")}
		s.Configure(Config{Ask: o.ask})
		defer s.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		if o.times() != 1 || len(s.List().Prefixes) != 22 || !s.List().Fetched.IsZero() {
			t.Fatalf("asked %d times, list %v: want it asked once and the built-in one kept", o.times(), s.List())
		}
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if n := o.times(); n < 12 || n > 19 {
			t.Errorf("asked %d times in twelve hours of failures: want it once an hour in the end", n)
		}
		o.set(other, nil)
		time.Sleep(70 * time.Minute)
		synctest.Wait()
		learned := s.List().Fetched
		if len(s.List().Prefixes) != 5 || learned.IsZero() {
			t.Fatalf("list %v: want the new one", s.List())
		}
		for _, bad := range [][]string{{"0.0.0.0/0"}, nil} {
			o.set(bad, nil)
			time.Sleep(27 * time.Hour)
			synctest.Wait()
			if len(s.List().Prefixes) != 5 || s.List().Fetched != learned {
				t.Fatalf("%v: list %v: want the last good one", bad, s.List())
			}
		}
		o.set(other, nil)
		time.Sleep(70 * time.Minute)
		synctest.Wait()
		before := o.times()
		time.Sleep(10 * 24 * time.Hour)
		synctest.Wait()
		if n := o.times() - before; n < 8 || n > 11 {
			t.Errorf("asked %d times in ten days: want it once a day", n)
		}
		mu.Lock()
		defer mu.Unlock()
		changed := 0
		for _, e := range events {
			if e.Changed {
				changed++
			}
			if e.Ranges == 0 {
				t.Errorf("%+v without a list", e)
			}
		}
		if changed != 1 {
			t.Errorf("%d changes were told of: want 1", changed)
		}
	})
}

func TestTheListIsKeptForTheNextStart(t *testing.T) {
	folder := t.TempDir()
	learned := make(chan Event, 10)
	o := &origin{ranges: other}
	s := NewSource(func(e Event) { learned <- e })
	s.Configure(Config{Folder: folder, Ask: o.ask})
	if e := <-learned; e.Err != nil || !e.Changed || e.Ranges != 5 {
		t.Fatalf("%+v: want the list learned", e)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := NewSource(nil)
	again.Configure(Config{Interval: -1, Folder: folder, Ask: o.ask})
	if l := again.List(); len(l.Prefixes) != 5 || l.Fetched.IsZero() || o.times() != 1 {
		t.Errorf("%v, asked %d times: want the kept list, and nobody asked", l, o.times())
	}

	path := filepath.Join(folder, fileName)
	for name, text := range map[string]string{
		"broken":            "{",
		"everybody":         `{"fetched":"2026-01-01T00:00:00Z","ranges":["0.0.0.0/0"]}`,
		"from the future":   `{"fetched":"2999-01-01T00:00:00Z","ranges":["` + strings.Join(other, `","`) + `"]}`,
		"empty":             "",
		"without a list":    `{"fetched":"2026-01-01T00:00:00Z"}`,
		"of another nature": `[1]`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var told []Event
		s := NewSource(func(e Event) { told = append(told, e) })
		s.Configure(Config{Interval: -1, Folder: folder})
		if len(told) != 1 || told[0].Err == nil || !strings.Contains(told[0].Err.Error(), path) || len(s.List().Prefixes) != 22 {
			t.Errorf("%s: told %+v, list %v: want the place named and the built-in list", name, told, s.List())
		}
	}
}

func TestAListThatCannotBeKeptIsInForce(t *testing.T) {
	learned := make(chan Event, 10)
	s := NewSource(func(e Event) { learned <- e })
	defer s.Close()
	s.Configure(Config{Folder: filepath.Join(t.TempDir(), "none"), Ask: (&origin{ranges: other}).ask})
	first, second := <-learned, <-learned
	if !first.Changed || second.Err == nil || len(s.List().Prefixes) != 5 {
		t.Errorf("%+v, %+v: want the list in force and a word that it is not kept", first, second)
	}
}

func TestAsker(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string // in the error; empty for none
	}{
		"good":            {200, `{"success":true,"errors":[],"messages":[],"result":{"ipv4_cidrs":["104.16.0.0/13"],"ipv6_cidrs":["2400:cb00::/32"],"etag":"x"}}`, ""},
		"with JD Cloud":   {200, `{"success":true,"errors":[],"messages":[],"result":{"ipv4_cidrs":["104.16.0.0/13"],"ipv6_cidrs":["2400:cb00::/32"],"jdcloud_cidrs":["1.2.3.0/24"],"etag":"x"}}`, ""},
		"success: false":  {200, `{"success":false,"errors":[{"code":1,"message":"no"}],"messages":[],"result":null}`, "want ipv4_cidrs and ipv6_cidrs"},
		"one family only": {200, `{"success":true,"errors":[],"messages":[],"result":{"ipv4_cidrs":["104.16.0.0/13"],"etag":"x"}}`, "want ipv4_cidrs and ipv6_cidrs"},
		"numbers":         {200, `{"success":true,"errors":[],"messages":[],"result":{"ipv4_cidrs":[1],"ipv6_cidrs":[2],"etag":"x"}}`, ""},
		"an error":        {500, `{"success":false,"errors":[{"code":1,"message":"no"}],"messages":[],"result":null}`, "500"},
		"a redirect":      {302, ``, "the list of Cloudflare's addresses"},
		"garbage":         {200, `<html>`, "the list of Cloudflare's addresses"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/client/v4/ips" || r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
				t.Errorf("%s %s: want GET /client/v4/ips without a token", r.Method, r.URL.Path)
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body)) // A client that is gone has got what it wanted.
		}))
		ranges, err := Asker(server.URL+"/client/v4", http.DefaultTransport)(t.Context())
		server.Close()
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, %v: want an error with %q", name, ranges, err, c.want)
		case c.want == "" && name != "numbers" && (err != nil || len(ranges) != 2):
			t.Errorf("%s: %v, %v", name, ranges, err)
		case name == "numbers" && err == nil:
			if _, err := Check(ranges); err == nil {
				t.Errorf("numbers make the list %v", ranges)
			}
		}
	}
}
