package rawhit

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"reflect"
	"testing"
)

// parse is net/http's reading of a request header, without the ignored fields.
func parse(f fields, block []byte) (*http.Request, bool) {
	in := bufio.NewReader(bytes.NewReader(block))
	r, err := http.ReadRequest(in)
	if err != nil || in.Buffered() > 0 && r.ContentLength == 0 {
		return nil, false
	}
	maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return f[lower(name)] })
	return r, true
}

// Taking ignored fields away changes nothing about what net/http makes of the
// rest: neither whether it is a request nor which.
func FuzzKeys(f *testing.F) {
	for _, text := range []string{
		get("/hit/a"), get("/", "User-Agent: x", "Accept-Encoding: gzip", "CF-Ray: 1"), get("/", "User-Agent: a", " b"),
		get("/", "User-Agent: a\rb"), get("/", "User-Agent:", "X: y"), get("/", "Cookie: \xff"), "GET / HTTP/1.1\nHost: a\n\n",
		get("/", "user-agent : x"), get("/", ": x"), get("/", "Content-Length: 3", "Accept: 1"),
	} {
		f.Add([]byte(text))
	}
	known := newFields([]string{"X-Real-IP"})
	f.Fuzz(func(t *testing.T, block []byte) {
		if end := endOfBlock(block); end == 0 || end != len(block) {
			return
		}
		key, ok := known.appendKey(nil, block)
		if !ok {
			return
		}
		got, isRequest := parse(known, key)
		want, wasRequest := parse(known, block)
		if isRequest != wasRequest {
			t.Fatalf("a request: %v, without ignored fields %v\n%q\n%q", wasRequest, isRequest, block, key)
		}
		if isRequest && (got.Method != want.Method || got.RequestURI != want.RequestURI || got.Host != want.Host || got.Proto != want.Proto ||
			got.ContentLength != want.ContentLength || got.Close != want.Close ||
			!reflect.DeepEqual(got.Header, want.Header) || !reflect.DeepEqual(got.TransferEncoding, want.TransferEncoding)) {
			t.Fatalf("%v\n%v\n%q\n%q", want, got, block, key)
		}
	})
}

func TestIgnoredFieldsLeaveTheKey(t *testing.T) {
	known := newFields([]string{"accept"})
	key, ok := known.appendKey([]byte("-"), []byte(get("/", "User-Agent: x", "Accept: y", "sec-ch-ua: \"z\"", "X-A: b")))
	if want := "-" + get("/", "Accept: y", "X-A: b"); !ok || string(key) != want {
		t.Errorf("%q, %v: want %q", key, ok, want)
	}
	for _, name := range ignored {
		if len(name) > longestIgnored || http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s: want a canonical name of %d bytes at most", name, longestIgnored)
		}
	}
}
