package main

import (
	"bytes"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestEveryURLIsAskedForOnceAsNew(t *testing.T) {
	for _, urls := range []int{1, 2, 3, 4, 1000, 1001} {
		asked := make(map[int]int)
		for place := range requestsFor(urls) {
			r := requestAt(place)
			if !r.new && asked[r.article.number] == 0 {
				t.Fatalf("%d URLs, place %d: article %d is asked for again, and never was", urls, place, r.article.number)
			}
			if r.new {
				asked[r.article.number]++
			}
		}
		for number := range urls {
			if asked[number] != 1 {
				t.Fatalf("%d URLs: article %d is new %d times", urls, number, asked[number])
			}
		}
		if len(asked) != urls {
			t.Errorf("%d URLs: %d were asked for", urls, len(asked))
		}
	}
}

func TestSizesAreThoseOfTheWeb(t *testing.T) {
	const n = 100_000
	sum, small, largest := 0, 0, 0
	for number := range n {
		size := articleOf(number).size
		sum += size
		largest = max(largest, size)
		if size <= 4_000 {
			small++
		}
	}
	if mean := sum / n; mean < 11_000 || mean > 13_000 {
		t.Errorf("%d bytes on average: want 12,000", mean)
	}
	if share := float64(small) / n; math.Abs(share-0.5) > 0.01 {
		t.Errorf("%.3f are small: want a half", share)
	}
	if largest < 1_000_000 || largest > 3_000_000 {
		t.Errorf("the largest has %d bytes", largest)
	}
}

func TestTheOriginServesWhatIsCompared(t *testing.T) {
	for _, number := range []int{0, 1, 5, 10, 4097} {
		a := articleOf(number)
		r := httptest.NewRequest("GET", "http://example.com"+a.path(), nil)
		r.Header.Set("Accept-Language", "de")
		w := httptest.NewRecorder()
		answer(w, r)
		head, rest := a.body("de")
		if err := compare(w.Body, head, rest); err != nil {
			t.Errorf("article %d: %v", number, err)
		}
		if tagged := w.Header().Get("Cache-Tag") != ""; tagged != a.tagged {
			t.Errorf("article %d: tags %q", number, w.Header().Get("Cache-Tag"))
		}
		if varies := w.Header().Get("Vary") != ""; varies != a.language {
			t.Errorf("article %d: Vary %q", number, w.Header().Get("Vary"))
		}
		other, _ := a.body("fr")
		if differs := !bytes.Equal(head, other); differs != a.language {
			t.Errorf("article %d: in French %q", number, other)
		}
	}
}

func TestOtherBodiesAreNoticed(t *testing.T) {
	for name, body := range map[string]string{
		"cut off": "headres", "another": "headrust", "more than there is": "headrest!", "nothing": "",
	} {
		if err := compare(strings.NewReader(body), []byte("head"), []byte("rest")); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	if err := compare(strings.NewReader("headrest"), []byte("head"), []byte("rest")); err != nil {
		t.Errorf("the very same: %v", err)
	}
}

func TestTheVerdict(t *testing.T) {
	o := options{urls: 1000, cap: 100, duration: time.Minute}
	good := series{highest: 115 << 20, distinct: 1000, rows: []row{{cache: cache{Bytes: 95 << 20, Evictions: 10}}}}
	if err := good.verdict(o); err != nil {
		t.Errorf("1.15 times the cap: %v", err)
	}
	for name, spoil := range map[string]func(*series){
		"a byte more":         func(s *series) { s.highest++ },
		"an URL less":         func(s *series) { s.distinct-- },
		"the cache not full":  func(s *series) { s.rows = []row{{cache: cache{Bytes: 10 << 20, Evictions: 10}}} },
		"nothing was evicted": func(s *series) { s.rows = []row{{cache: cache{Bytes: 95 << 20}}} },
		"nothing was seen":    func(s *series) { s.rows = nil },
	} {
		s := good
		spoil(&s)
		if s.verdict(o) == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}

func TestWrongOptionsAreAllNamed(t *testing.T) {
	err := options{duration: time.Second, urls: 10, cap: 0, disk: -1}.check()
	for _, want := range []string{"-duration 1s", "-urls 10", "-cap 0", "-disk -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s in it", err, want)
		}
	}
	if err := (options{duration: time.Minute, urls: 1000, cap: 1}).check(); err != nil {
		t.Error(err)
	}
}
