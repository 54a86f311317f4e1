package site

import (
	"html"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/browsertest"
)

// build makes the site, in a folder of the test's own, and gives that.
func build(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	c := exec.CommandContext(t.Context(), "npm", "run", "build", "--silent")
	c.Env = append(os.Environ(), "SITE_FOLDER="+folder)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("npm run build, whose parts make tools installs: %v\n%s", err, out)
	}
	return folder
}

// page is one of the site's, as a reader's browser would take it.
type page struct {
	anchors map[string]bool
	links   []string
}

var (
	anchorOf = regexp.MustCompile(`\sid="([^"]+)"`)
	linkOf   = regexp.MustCompile(`<a [^>]*href="([^"]*)"`)
)

// pagesOf are those of a site, by their addresses.
func pagesOf(t *testing.T, folder string) map[string]page {
	t.Helper()
	pages := make(map[string]page)
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, _ fs.DirEntry, err error) error {
		address, ok := strings.CutSuffix(name, ".html")
		if err != nil || !ok {
			return err
		}
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		p := page{anchors: make(map[string]bool)}
		for _, found := range anchorOf.FindAllStringSubmatch(string(text), -1) {
			p.anchors[html.UnescapeString(found[1])] = true
		}
		for _, found := range linkOf.FindAllStringSubmatch(string(text), -1) {
			p.links = append(p.links, html.UnescapeString(found[1]))
		}
		if address == "index" || strings.HasSuffix(address, "/index") {
			address = strings.TrimSuffix(address, "index")
		}
		pages["/"+address] = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// Every document is a page, and every link of a page leads to another, and to a heading
// in it, or out of the site.
func TestTheSiteHasAllDocuments(t *testing.T) {
	folder := build(t)
	pages := pagesOf(t, folder)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "bench/*.md"} {
		documents, err := fs.Glob(os.DirFS("../.."), pattern)
		if err != nil || len(documents) == 0 {
			t.Fatalf("%s: %d documents, %v", pattern, len(documents), err)
		}
		for _, document := range documents {
			address := "/" + strings.TrimSuffix(strings.TrimSuffix(document, "README.md"), ".md")
			if _, ok := pages[address]; !ok {
				t.Errorf("%s is no page of the site: want %s", document, address)
			}
		}
	}
	inside := 0
	for address, p := range pages {
		for _, link := range p.links {
			to, anchor, _ := strings.Cut(link, "#")
			if strings.Contains(to, ":") {
				continue
			}
			if to == "" {
				to = address
			}
			inside++
			target, ok := pages[to]
			if !ok {
				t.Errorf("%s links %s, which is no page", address, link)
			} else if anchor != "" && !target.anchors[anchor] {
				t.Errorf("%s links %s: %s has no such heading", address, link, to)
			}
		}
	}
	if inside < 1000 {
		t.Errorf("%d links within the site: want those of all pages and their contents", inside)
	}
	search(t, folder)
}

// search has a reader look for a word, and open what is found, without a mouse.
func search(t *testing.T, folder string) {
	files := http.FileServer(http.Dir(folder))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(filepath.Join(folder, r.URL.Path) + ".html"); err == nil {
			r.URL.Path += ".html" // as hosts of such sites do
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b := browsertest.Start(t)
	b.Open(server.URL + "/docs/fleet")
	b.See("the page's own heading", "document.querySelector('h1').innerText.startsWith('Several nodes: the fleet')")
	b.Click("button.DocSearch")
	b.See("the field of the search", "document.activeElement.id === 'localsearch-input'")
	b.Fill("localsearch-input", "EdgePurgeFailed")
	b.See("what is found", "document.querySelector('.results .selected')?.innerText.includes('EdgePurgeFailed')")
	b.Press("Enter")
	b.See("the runbook", "location.pathname === '/docs/runbooks/EdgePurgeFailed' && document.querySelector('h1').innerText.startsWith('EdgePurgeFailed')")
	b.NoComplaints()
	if hosts := b.Hosts(); len(hosts) != 1 {
		t.Errorf("the site asks %q: want its own host alone", hosts)
	}
}
