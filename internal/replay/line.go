// Package replay reads an access log and tells what another configuration would
// have made of its requests. What a configuration would do is its caller's to
// say: the package reads, counts and prints.
package replay

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Line is a record of the access log, as Caddy and edge write it.
type Line struct {
	TS      float64 `json:"ts"`
	Request struct {
		Method   string          `json:"method"`
		Host     string          `json:"host"`
		URI      string          `json:"uri"`
		Proto    string          `json:"proto"`
		ClientIP string          `json:"client_ip"`
		Headers  http.Header     `json:"headers"`
		TLS      json.RawMessage `json:"tls"`
	} `json:"request"`
	Status      int         `json:"status"`
	Size        int64       `json:"size"`
	BytesRead   int64       `json:"bytes_read"`
	Header      http.Header `json:"resp_headers"`
	Rule        string      `json:"rule"`
	Cache       string      `json:"cache"`
	CacheReason string      `json:"cache_reason"`
	Attempts    int         `json:"attempts"`
}

// errOther is a line about something else than a request.
var errOther = errors.New("no record of a request")

// parse reads a line. An error names the value and what would be right.
func parse(text []byte) (Line, error) {
	var l Line
	if !bytes.Contains(text, []byte(`"request"`)) && json.Valid(text) {
		return l, errOther
	}
	if err := json.Unmarshal(text, &l); err != nil {
		var mistyped *json.UnmarshalTypeError
		if errors.As(err, &mistyped) {
			return l, fmt.Errorf("%s: got a %s: want a %s, as in Caddy's access log with format json", mistyped.Field, mistyped.Value, mistyped.Type)
		}
		return l, fmt.Errorf("%s: %w: want one JSON object a line, as in Caddy's access log with format json", shorten(text), err)
	}
	switch {
	case l.Request.Method == "" && l.Request.URI == "":
		return l, errOther
	case l.Request.Method == "":
		return l, errors.New(`request.method "": want a method`)
	case !strings.HasPrefix(l.Request.URI, "/"):
		return l, fmt.Errorf("request.uri %q: want a path", l.Request.URI)
	case l.Request.Host == "":
		return l, errors.New(`request.host "": want a host`)
	case l.TS <= 0 || math.IsInf(l.TS, 0) || l.TS > 1<<40:
		return l, fmt.Errorf("ts %v: want seconds since 1970", l.TS)
	case l.Status != 0 && (l.Status < 100 || l.Status > 999):
		return l, fmt.Errorf("status %d: want one of three digits", l.Status)
	case l.Size < 0:
		return l, fmt.Errorf("size %d: want bytes", l.Size)
	}
	return l, nil
}

func shorten(text []byte) string {
	const most = 40
	if len(text) > most {
		return fmt.Sprintf("%q…", text[:most])
	}
	return fmt.Sprintf("%q", text)
}

// At is when the request was logged.
func (l *Line) At() time.Time {
	whole, part := math.Modf(l.TS)
	return time.Unix(int64(whole), int64(part*1e9))
}

// Ask is the request, as a server would have got it.
func (l *Line) Ask() (*http.Request, error) {
	u, err := url.ParseRequestURI(l.Request.URI)
	if err != nil {
		return nil, fmt.Errorf("request.uri %q: want a path: %w", l.Request.URI, err)
	}
	header := l.Request.Headers
	if header == nil {
		header = make(http.Header)
	}
	r := &http.Request{
		Method: l.Request.Method, URL: u, RequestURI: l.Request.URI, Host: l.Request.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, ContentLength: l.BytesRead, RemoteAddr: net.JoinHostPort(l.Request.ClientIP, "0"),
	}
	if len(l.Request.TLS) > 0 && string(l.Request.TLS) != "null" {
		r.TLS = new(tls.ConnectionState)
	}
	return r, nil
}

// Hit reports that the gateway that wrote the log answered by itself.
func (l *Line) Hit() bool { return l.Cache == "hit" || l.Cache == "stale" }

// verdict is what the log says became of the request, as Verdict does.
func (l *Line) verdict() Verdict { return VerdictOf(l.Rule, l.Cache, l.CacheReason) }
