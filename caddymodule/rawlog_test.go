package caddymodule

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/edgegw/edge/internal/rawhit"
)

const browsersBlock = "GET /assets/app-3f9a1c.js HTTP/1.1\r\nHost: crm.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
	"Accept: */*\r\nAccept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Referer: https://crm.example.com/\r\nSec-Fetch-Dest: script\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\n\r\n"

const storedHead = "HTTP/1.1 200 OK\r\nAge: 12\r\nCache-Control: public, max-age=31536000, immutable\r\nCache-Status: edge; hit; ttl=588\r\n" +
	"Content-Length: 1024\r\nContent-Type: text/javascript\r\nEtag: \"3f9a1c\"\r\nX-Request-Id: 5d8a3c1e-0f7b-4c9e-9a41-2f1f6f0f3a11\r\n" +
	"Date: Fri, 27 Nov 2026 12:00:00 GMT\r\n\r\n"

// BenchmarkRawLog is what one record about a reply on a connection costs, as
// clients with two connections alternate.
func BenchmarkRawLog(b *testing.B) {
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zapcore.InfoLevel)
	l := &rawLog{
		scribes: newScribes(),
		server:  &caddyhttp.Server{Logs: &caddyhttp.ServerLogConfig{}},
		loggers: []*zap.Logger{zap.New(core)},
		fields:  []zap.Field{zap.String("rule", "fingerprinted"), zap.String("cache", "hit")},
	}
	records := []rawhit.Record{
		{Block: []byte(browsersBlock), Head: []byte(storedHead), Remote: "203.0.113.7:50123", Size: 1024, Done: time.Now(), Duration: time.Microsecond},
		{Block: []byte(browsersBlock), Head: []byte(storedHead), Remote: "203.0.113.8:50124", Size: 1024, Done: time.Now(), Duration: time.Microsecond},
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.write(records[i%2])
	}
}

// A record is about its own request, whoever asked for the same, or for something
// else in the same place, before.
func TestRawLogTellsRequestsApart(t *testing.T) {
	var out bytes.Buffer
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zapcore.InfoLevel)
	l := rawLogOf(&caddyhttp.Server{Logs: &caddyhttp.ServerLogConfig{}}, "example.com", zap.New(core), newScribes())
	block := func(agent string) []byte {
		return []byte("GET /a HTTP/1.1\r\nHost: example.com\r\nUser-Agent: " + agent + "\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n")
	}
	secure := &tls.ConnectionState{Version: tls.VersionTLS13, ServerName: "example.com"}
	records := []rawhit.Record{
		{Block: block("one"), Remote: "203.0.113.7:50123"},
		{Block: block("one"), Remote: "203.0.113.8:50123"},
		{Block: block("two"), Remote: "203.0.113.7:50123"},
		{Block: block("two"), Remote: "203.0.113.7:50123", TLS: secure},
	}
	for round := range 3 {
		for i, record := range records {
			record.Head = []byte("HTTP/1.1 200 OK\r\nEtag: \"a\"\r\nVary: x\r\nVary: y\r\nX-Request-Id: id-" + strconv.Itoa(round*10+i) + "\r\n\r\n")
			record.Size, record.Duration, record.Done = 100+i, time.Duration(round), time.Unix(int64(round), 0)
			out.Reset()
			l.write(record)
			var got struct {
				Size      int    `json:"size"`
				TS        int64  `json:"ts"`
				RequestID string `json:"request_id"`
				Request   struct {
					RemoteIP string         `json:"remote_ip"`
					Headers  http.Header    `json:"headers"`
					TLS      map[string]any `json:"tls"`
				} `json:"request"`
				Header http.Header `json:"resp_headers"`
			}
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatalf("%v: %s", err, out.Bytes())
			}
			remote, _, _ := strings.Cut(record.Remote, ":")
			if got.Size != record.Size || got.TS != int64(round) || got.RequestID != "id-"+strconv.Itoa(round*10+i) || got.Request.RemoteIP != remote ||
				!bytes.Contains(record.Block, []byte(got.Request.Headers.Get("User-Agent"))) || len(got.Request.Headers["X-Two"]) != 2 ||
				(got.Request.TLS != nil) != (record.TLS != nil) || got.Header.Get("Etag") != `"a"` || !slices.Equal(got.Header["Vary"], []string{"x", "y"}) {
				t.Errorf("round %d, record %d: %s", round, i, out.Bytes())
			}
		}
	}
}

func TestResponseHeaderReadsWhatNetHTTPWrites(t *testing.T) {
	for _, header := range []http.Header{
		{}, {"Etag": {`"a: b"`}}, {"Vary": {"a", "b"}, "X-Empty": {""}},
		{"Set-Cookie": {"a=b; c", "d", "e"}, "Content-Type": {"text/html; charset=utf-8"}, "Age": {"0"}},
	} {
		var head bytes.Buffer
		head.WriteString("HTTP/1.1 200 OK\r\n")
		if err := header.Write(&head); err != nil {
			t.Fatal(err)
		}
		head.WriteString("\r\n")
		if got := responseHeader(head.Bytes()); !reflect.DeepEqual(got, header) {
			t.Errorf("%v, want %v", got, header)
		}
	}
}
