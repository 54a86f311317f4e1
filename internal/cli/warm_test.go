package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsWarmed(t *testing.T) {
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	give := func(path, text string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.ReplaceAll(text, "SITE", site.URL))
		})
	}
	const pages = `<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc>https://example.com/</loc><priority>1</priority></url>
<url><loc>
https://example.com/a?b=1&amp;c=2 </loc></url></urlset>`
	give("/sitemap.xml", pages)
	give("/index.xml", `<sitemapindex><sitemap><loc>SITE/sitemap.xml</loc></sitemap><sitemap><loc>SITE/other.xml</loc></sitemap></sitemapindex>`)
	give("/other.xml", `<urlset><url><loc>https://example.com/other</loc></url></urlset>`)
	give("/page.xml", `<html></html>`)
	give("/empty.xml", `<urlset></urlset>`)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	many := &strings.Builder{}
	for i := range 1200 {
		fmt.Fprintf(many, "https://example.com/%d\n", i)
	}
	for name, c := range map[string]struct {
		sources []string
		want    string // or a part of the error
		left    int
	}{
		"a page":                  {[]string{"https://example.com/a"}, "https://example.com/a", 0},
		"a sitemap":               {[]string{site.URL + "/sitemap.xml"}, "https://example.com/ https://example.com/a?b=1&c=2", 0},
		"an index":                {[]string{site.URL + "/index.xml"}, "https://example.com/ https://example.com/a?b=1&c=2 https://example.com/other", 0},
		"a file of lines":         {[]string{write("lines", "# hot\nhttps://example.com/b\n\nhttps://example.com/a\n")}, "https://example.com/b https://example.com/a", 0},
		"a file that is a map":    {[]string{write("map", pages)}, "https://example.com/ https://example.com/a?b=1&c=2", 0},
		"each once":               {[]string{"https://example.com/other", site.URL + "/other.xml"}, "https://example.com/other", 0},
		"more than can be":        {[]string{write("many", many.String())}, "", 200},
		"a page that ends so":     {[]string{site.URL + "/page.xml"}, `the root "html": want urlset or sitemapindex`, 0},
		"nothing in it":           {[]string{site.URL + "/empty.xml"}, "a sitemap without a page", 0},
		"not there":               {[]string{site.URL + "/none.xml"}, "404", 0},
		"no file":                 {[]string{filepath.Join(dir, "none")}, "no such file", 0},
		"an empty file":           {[]string{write("empty", "# nothing\n")}, "holds no URL", 0},
		"something else in lines": {[]string{write("else", "page one\n")}, "page one", 0},
	} {
		urls, left, err := warmList(t.Context(), c.sources)
		got := strings.Join(urls, " ")
		if err != nil {
			got = err.Error()
		}
		if left != c.left || c.want != got && (err == nil && c.want != "" || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %.200s, %d left: want %s, %d", name, got, left, c.want, c.left)
		}
		if c.left > 0 && len(urls) != maxWarm {
			t.Errorf("%s: %d URLs", name, len(urls))
		}
	}
}
