package httpcache

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestAcceptEncodingIsComparedByWhatItAccepts(t *testing.T) {
	w := newWorld(t, "Cache-Control: max-age=60", "Vary: Accept-Encoding", "Content-Encoding: br")
	w.get(site, "Accept-Encoding: GZIP;q=0.5,br").wants(t, StatusMiss, 200, "hello")
	if got := w.origin.lastAsked().Values("Accept-Encoding"); !slices.Equal(got, []string{"GZIP;q=0.5,br"}) {
		t.Errorf("the origin was asked with %q: want the client's own field", got)
	}
	w.get(site, "Accept-Encoding: br, gzip").wants(t, StatusHit, 200, "hello")
	w.get(site, "Accept-Encoding: br", "Accept-Encoding: gzip").wants(t, StatusHit, 200, "hello")
	w.get(site, "Accept-Encoding: gzip").wants(t, StatusMiss, 200, "hello")
	w.get(site).wants(t, StatusMiss, 200, "hello")
	w.get(site, "Accept-Encoding: ").wants(t, StatusMiss, 200, "hello")
	w.get(site).wants(t, StatusHit, 200, "hello")
}

// Origins that compress without saying so in Vary are common: it is what nginx
// does unless told otherwise.
func TestAnEncodedAnswerVariesWhetherItSaysSoOrNot(t *testing.T) {
	w := newWorld(t)
	w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			return respond(200, "gzipped", "Cache-Control: max-age=60", "Content-Encoding: gzip")(rw, r)
		}
		return respond(200, "plain", "Cache-Control: max-age=60")(rw, r)
	}
	w.get(site, "Accept-Encoding: gzip").wants(t, StatusMiss, 200, "gzipped")
	w.get(site).wants(t, StatusMiss, 200, "plain")
	w.get(site).wants(t, StatusHit, 200, "plain")
}

// TestNobodyGetsACodingThatItDoesNotAccept: an origin that uses any coding that
// the request accepts, known to us or not, and clients of all sorts.
func TestNobodyGetsACodingThatItDoesNotAccept(t *testing.T) {
	members := []string{
		"br", "gzip", "x-gzip", "zstd", "deflate", "dcb", "compress", "identity", "*", "BR", " gzip ",
		"br;q=0", "gzip;q=0.000", "zstd;q=0.5", "dcb;q=0", "*;q=0", "*;q=0.2", "identity;q=0",
	}
	codings := []string{"br", "gzip", "zstd", "deflate", "dcb", "compress", "exi"}
	random := rand.New(rand.NewPCG(9, 11))
	w := newWorld(t)
	w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
		fields := []string{"Cache-Control: max-age=60", "Vary: Accept-Encoding"}
		for _, i := range random.Perm(len(codings)) {
			if lists(r.Header.Values("Accept-Encoding"), codings[i]) {
				fields = append(fields, "Content-Encoding: "+codings[i])
				break
			}
		}
		return respond(200, "hello", fields...)(rw, r)
	}
	hits := 0
	for i := range 20_000 {
		url := site + "?" + strconv.Itoa(i/40) // so that variants are not all there at once
		list := make([]string, random.IntN(5))
		for i := range list {
			list[i] = members[random.IntN(len(members))]
		}
		field := strings.Join(list, ",")
		got := w.get(url, "Accept-Encoding: "+field)
		if got.Status == StatusHit {
			hits++
		}
		if c := got.Header().Get("Content-Encoding"); c != "" && !lists([]string{field}, c) {
			t.Fatalf("%q got %q", field, c)
		}
	}
	if hits < 1000 {
		t.Errorf("%d hits: want enough to prove something", hits)
	}
}

// lists reads Accept-Encoding in the plainest way: RFC 9110, 12.5.3.
func lists(lines []string, want string) bool {
	var named, refused, star, starRefused bool
	for member := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name, weight, weighted := strings.Cut(strings.ToLower(strings.TrimSpace(member)), ";q=")
		q, err := strconv.ParseFloat(weight, 64)
		zero := weighted && (err != nil || q == 0)
		switch name {
		case want, "x-" + want:
			named, refused = true, refused || zero
		case "*":
			star, starRefused = true, starRefused || zero
		}
	}
	return named && !refused || !named && star && !starRefused
}
