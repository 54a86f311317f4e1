package dashboard

import (
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func serve(t *testing.T, name string, header ...string) *http.Response {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/dashboard/"+name, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if !Serve(w, r, name) {
		t.Fatalf("%q: no such part", name)
	}
	return w.Result()
}

func TestEveryPartGoesOutUnderThePolicy(t *testing.T) {
	if len(parts) < 12 {
		t.Fatalf("%d parts: want the page, its scripts and styles", len(parts))
	}
	for name := range parts {
		got := serve(t, name)
		h := got.Header
		if got.StatusCode != http.StatusOK || h.Get("Content-Type") == "" || h.Get("Content-Type") != kinds[path.Ext(name)] {
			t.Errorf("%s: %d, %q", name, got.StatusCode, h.Get("Content-Type"))
		}
		for field, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; ", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
			"Cache-Control": "private, no-cache, no-transform", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if !strings.HasPrefix(h.Get(field), want) {
				t.Errorf("%s: %s %q: want %q", name, field, h.Get(field), want)
			}
		}
		if strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s: %q", name, h.Get("Content-Security-Policy"))
		}
		if again := serve(t, name, "If-None-Match", h.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s with its tag: %d, want 304", name, again.StatusCode)
		}
	}
	if page := serve(t, ""); page.Header.Get("Content-Type") != kinds[".html"] {
		t.Errorf("the page: %q", page.Header.Get("Content-Type"))
	}
}

func TestNothingElseIsServed(t *testing.T) {
	for _, name := range []string{"nothing.js", "../dashboard.go", "page/index.html", "page", ".", "/"} {
		w := httptest.NewRecorder()
		if Serve(w, httptest.NewRequest(http.MethodGet, "/dashboard/x", nil), name) || w.Body.Len() > 0 {
			t.Errorf("%q is served: %s", name, w.Body)
		}
	}
}

// TestOwnFilesKeepToWhatThePageMayDo holds what the policy would stop only in a
// browser that knows it.
func TestOwnFilesKeepToWhatThePageMayDo(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|https?://[^w]|//cdn|style=|onclick=|document\.cookie`)
	for name, p := range parts {
		if _, theirs := vendored[name]; theirs {
			continue
		}
		for number, line := range strings.Split(string(p.body), "\n") {
			if found := forbidden.FindString(line); found != "" {
				t.Errorf("%s:%d: %s", name, number+1, found)
			}
		}
		if lines := strings.Count(string(p.body), "\n"); lines > 400 {
			t.Errorf("%s has %d lines: at most 400", name, lines)
		}
	}
	page := string(parts[index].body)
	for _, found := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		name, own := strings.CutPrefix(found[1], "dashboard/")
		if _, there := parts[name]; !there && (own || found[1] != "data:," && found[1] != "#main") {
			t.Errorf("the page names %q: want its own parts only", found[1])
		}
	}
}

func TestScriptsImportWhatThereIs(t *testing.T) {
	imports := regexp.MustCompile(`from "\./([^"]+)"`)
	for name, p := range parts {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, found := range imports.FindAllStringSubmatch(string(p.body), -1) {
			if _, there := parts[found[1]]; !there {
				t.Errorf("%s imports %s: there is none", name, found[1])
			}
		}
	}
}
