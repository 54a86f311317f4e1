package httpcache

import (
	"net/http"
	"strings"
	"testing"
)

func TestTheHottestOfWhatASoftPurgeMadeStale(t *testing.T) {
	w := newWorld(t)
	header := func(lines ...string) { w.origin.answer = respond(http.StatusOK, "page", lines...) }
	visit := func(url string, times int, fields ...string) {
		for range times {
			w.get(url, fields...)
		}
	}
	header("Cache-Control: max-age=3600", "Cache-Tag: pages")
	visit("https://example.com/warm?a=1", 3)
	visit("https://example.com/hot?", 5)
	header("Cache-Control: max-age=3600", "Cache-Tag: other")
	visit("https://example.com/kept", 9)
	header("Cache-Control: max-age=3600", "Cache-Tag: pages", "Vary: Accept-Language")
	visit("https://example.com/language", 2, "Accept-Language: de")
	header("Cache-Control: max-age=3600", "Cache-Tag: pages", "Vary: Cookie")
	visit("https://example.com/personal", 7, "Cookie: a=b")
	if hot := w.h.Store.Hottest(10); len(hot) != 0 {
		t.Errorf("before a purge: %+v", hot)
	}
	w.h.Store.Purge(Purge{Tags: []string{"pages"}, Soft: true})
	var urls []string
	for _, one := range w.h.Store.Hottest(10) {
		urls = append(urls, one.URL+" "+one.Header.Get("Accept-Language"))
	}
	if got, want := strings.Join(urls, ", "), "https://example.com/hot? , https://example.com/warm?a=1 , https://example.com/language de"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if hot := w.h.Store.Hottest(1); len(hot) != 1 || hot[0].URL != "https://example.com/hot?" {
		t.Errorf("the hottest one: %+v", hot)
	}
	header("Cache-Control: max-age=3600", "Cache-Tag: pages")
	visit("https://example.com/hot?", 1)
	if hot := w.h.Store.Hottest(1); len(hot) != 1 || hot[0].URL != "https://example.com/warm?a=1" {
		t.Errorf("when that one is fresh again: %+v", hot)
	}
	w.h.Store.Purge(Purge{Everything: true})
	if hot := w.h.Store.Hottest(10); len(hot) != 0 {
		t.Errorf("after a hard purge: %+v", hot)
	}
}
