package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// twice is one URL asked for twice, and the fields of the origin's answers.
type twice struct {
	first string // with the body "first"
	then  string // with the body "second"; or a status line and fields; or hangUp
	want  string // what the second request gets: first, second, or a status code
}

const hangUp = "-"

// playTwice plays all cases against one gateway whose cache has no rules, and
// shows the answer to the second request of each.
func playTwice(t *testing.T, cases map[string]twice, look func(t *testing.T, name string, second response)) {
	t.Helper()
	var mu sync.Mutex
	asked := make(map[string]int)
	paths, byPath := make(map[string]string), make(map[string]twice)
	for name, c := range cases {
		path := "/" + strconv.Itoa(len(paths))
		paths[name], byPath[path] = path, c
	}
	address, _ := rawOrigin(t, func(conn net.Conn, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		n := asked[r.URL.Path]
		mu.Unlock()
		c := byPath[r.URL.Path]
		switch {
		case n == 1:
			raw(conn, "HTTP/1.1 200 OK\nContent-Length: 5\n"+c.first+"\nfirst")
		case c.then == hangUp:
			_ = conn.Close() // this is the failure
		case strings.HasPrefix(c.then, "HTTP/"):
			raw(conn, c.then+"\nContent-Length: 6\n\nsecond")
		default:
			raw(conn, "HTTP/1.1 200 OK\nContent-Length: 6\n"+c.then+"\nsecond")
		}
	})
	e := startEdge(t, fmt.Sprintf(suitePool, address), "edge_cache\nedge_proxy app\n")
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if r := e.get(paths[name]); r.Text != "first" {
				t.Fatalf("the first answer: %d %q", r.StatusCode, r.Text)
			}
			r := e.get(paths[name])
			if r.Text != c.want && strconv.Itoa(r.StatusCode) != c.want {
				t.Errorf("%d %q, Cache-Status %q: want %s", r.StatusCode, r.Text, r.cacheStatus(), c.want)
			}
			if look != nil {
				look(t, name, r)
			}
		})
	}
}

// fromNow is an HTTP-date.
func fromNow(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }

// RFC 9111, 4.2: what is fresh, and how old it is, by two clocks and a field.
func TestHowOldAnAnswerIs(t *testing.T) {
	dates := func(date, expires time.Duration) string {
		return "Date: " + fromNow(date) + "\nExpires: " + fromNow(expires) + "\n"
	}
	const hour, half = time.Hour, 30 * time.Minute
	cases := map[string]struct {
		fields string
		want   string
		age    int // at least, if it is fresh
	}{
		"Expires counts from Date":                    {dates(-hour, half), "first", 3600},
		"and is over when the answer is as old":       {dates(-hour, -half), "second", 0},
		"an origin whose clock is fast":               {dates(hour, hour+half), "first", 0},
		"its answer came by a cache, older than that": {dates(hour, hour+half) + "Age: 1801\n", "second", 0},
		"an origin whose clock is slow":               {dates(-2*hour, -hour), "second", 0},
		"Expires equal to Date":                       {dates(0, 0), "second", 0},
		"Expires without Date":                        {"Expires: " + fromNow(hour) + "\n", "first", 0},
		"Expires, and a Date that is none":            {"Date: today\nExpires: " + fromNow(hour) + "\n", "first", 0},
		"max-age outranks Expires":                    {"Cache-Control: max-age=3600\n" + dates(0, -hour), "first", 0},
		"max-age and a Date in the past":              {"Cache-Control: max-age=60\nDate: " + fromNow(-hour) + "\n", "second", 0},
		"as old as its lifetime":                      {"Cache-Control: max-age=60\nAge: 60\n", "second", 0},
		"the Age that it came with is part of it":     {"Cache-Control: max-age=90\nAge: 30\n", "first", 30},
		"Age where Date says less":                    {"Cache-Control: max-age=600\nAge: 200\nDate: " + fromNow(-100*time.Second) + "\n", "first", 200},
		"Date where Age says less":                    {"Cache-Control: max-age=600\nAge: 100\nDate: " + fromNow(-200*time.Second) + "\n", "first", 200},
		"the first of two members of Age":             {"Cache-Control: max-age=600\nAge: 7, 7200\n", "first", 7},
		"the first of two lines of Age":               {"Cache-Control: max-age=600\nAge: 7200\nAge: 7\n", "second", 0},
		"Age in words":                                {"Cache-Control: max-age=600\nAge: old\n", "first", 0},
		"Age below zero":                              {"Cache-Control: max-age=600\nAge: -7200\n", "first", 0},
		"Age with a fraction":                         {"Cache-Control: max-age=600\nAge: 7200.0\n", "first", 0},
		"Age past 31 bits":                            {"Cache-Control: max-age=600\nAge: 2147483649\n", "second", 0},
		"Age past 64 bits":                            {"Cache-Control: max-age=600\nAge: 99999999999999999999\n", "second", 0},
		"max-age past 64 bits":                        {"Cache-Control: max-age=99999999999999999999\n", "first", 0},
		"two lines of Expires":                        {"Expires: " + fromNow(hour) + "\nExpires: " + fromNow(hour) + "\n", "second", 0},
		"Expires in another zone":                     {"Expires: " + strings.Replace(fromNow(hour), "GMT", "UTC", 1) + "\n", "second", 0},
		"Expires: 0":                                  {"Expires: 0\n", "second", 0},
		"Expires of RFC 850":                          {"Expires: " + time.Now().Add(hour).UTC().Format("Monday, 02-Jan-06 15:04:05 GMT") + "\n", "first", 0},
		"Expires of asctime":                          {"Expires: " + time.Now().Add(hour).UTC().Format(time.ANSIC) + "\n", "first", 0},
	}
	plays := make(map[string]twice)
	for name, c := range cases {
		plays[name] = twice{c.fields, "Cache-Control: no-store\n", c.want}
	}
	playTwice(t, plays, func(t *testing.T, name string, second response) {
		if second.Text != "first" {
			return
		}
		age, err := strconv.Atoi(second.Header.Get("Age"))
		if least := cases[name].age; err != nil || age < least || age > least+20 {
			t.Errorf("Age %q: want %d and a little", second.Header.Get("Age"), least)
		}
	})
}

// RFC 5861 and RFC 9111, 4.2.4: how long past its lifetime an answer may be
// given. All answers have a lifetime of a minute and arrive with an Age, so
// that nobody has to wait for them to become stale.
func TestHowStaleAnAnswerMayBe(t *testing.T) {
	aged := func(age int, more string) string {
		return fmt.Sprintf("Age: %d\nCache-Control: max-age=60%s\nETag: \"a\"\n", age, more)
	}
	const (
		answer = "Cache-Control: no-store\n"
		sorry  = "HTTP/1.1 503 Service Unavailable"
	)
	playTwice(t, map[string]twice{
		"within stale-while-revalidate":              {aged(70, ", stale-while-revalidate=40"), answer, "first"},
		"at the end of stale-while-revalidate":       {aged(100, ", stale-while-revalidate=40"), answer, "second"},
		"stale-while-revalidate without a value":     {aged(70, ", stale-while-revalidate"), answer, "second"},
		"stale-while-revalidate that is no number":   {aged(70, ", stale-while-revalidate=1h"), answer, "second"},
		"stale-while-revalidate, must-revalidate":    {aged(70, ", stale-while-revalidate=40, must-revalidate"), answer, "second"},
		"stale-while-revalidate, proxy-revalidate":   {aged(70, ", stale-while-revalidate=40, proxy-revalidate"), answer, "second"},
		"stale-while-revalidate, no-cache":           {aged(70, ", stale-while-revalidate=40, no-cache"), answer, "second"},
		"stale-while-revalidate, s-maxage":           {aged(70, ", stale-while-revalidate=40, s-maxage=60"), answer, "second"},
		"stale-while-revalidate is no error window":  {aged(110, ", stale-while-revalidate=40"), sorry, "503"},
		"stale-if-error does not serve without one":  {aged(70, ", stale-if-error=40"), answer, "second"},
		"a 503 within stale-if-error":                {aged(70, ", stale-if-error=40"), sorry, "first"},
		"a 503 at the end of stale-if-error":         {aged(100, ", stale-if-error=40"), sorry, "503"},
		"a 503 without stale-if-error":               {aged(70, ""), sorry, "503"},
		"a 404 within stale-if-error":                {aged(70, ", stale-if-error=40"), "HTTP/1.1 404 Not Found", "404"},
		"a 501 within stale-if-error":                {aged(70, ", stale-if-error=40"), "HTTP/1.1 501 Not Implemented", "501"},
		"a 503 within stale-if-error, must-…":        {aged(70, ", stale-if-error=40, must-revalidate"), sorry, "503"},
		"no answer within stale-if-error":            {aged(70, ", stale-if-error=40"), hangUp, "first"},
		"no answer at the end of stale-if-error":     {aged(100, ", stale-if-error=40"), hangUp, "502"},
		"no answer, and nothing said":                {aged(70, ""), hangUp, "first"},
		"no answer ten minutes past the lifetime":    {aged(660, ""), hangUp, "502"},
		"no answer, stale-if-error=0":                {aged(70, ", stale-if-error=0"), hangUp, "502"},
		"no answer, must-revalidate":                 {aged(70, ", must-revalidate"), hangUp, "502"},
		"no answer, proxy-revalidate":                {aged(70, ", proxy-revalidate"), hangUp, "502"},
		"no answer, s-maxage":                        {aged(70, ", s-maxage=60"), hangUp, "502"},
		"no answer, no-cache":                        {aged(70, ", no-cache"), hangUp, "502"},
		"no answer, must-revalidate in the targeted": {aged(70, "") + "CDN-Cache-Control: max-age=60, must-revalidate\n", hangUp, "502"},
	}, func(t *testing.T, name string, second response) {
		if second.Text == "first" && second.Header.Get("Age") == "" {
			t.Error("a stale answer without Age (RFC 9111, 5.1)")
		}
	})
}
