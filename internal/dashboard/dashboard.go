// Package dashboard is a page for operators: what the gateway does, live, and
// the orders that they give most. It is static and holds no secret: its scripts
// ask the control API, relative to where the page is, with a token that the
// reader gives.
//
// Nothing here is generated: the files of page are what a browser gets.
package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed page
var embedded embed.FS

// policy lets the page load its own files and talk to its own origin, and
// nothing else: no script that stands in the page, no style, no frame around it.
// No text is ever taken for markup or code.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// part is one file of the page.
type part struct {
	kind string
	body []byte
	tag  string
}

// index is the page itself.
const index = "index.html"

var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".txt":  "text/plain; charset=utf-8",
}

var parts = load(embedded)

// load reads the files. They are in the binary: it cannot fail.
func load(from fs.FS) map[string]part {
	all := make(map[string]part)
	err := fs.WalkDir(from, "page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		all[path.Base(name)] = part{kind: kinds[path.Ext(name)], body: body, tag: `"` + hex.EncodeToString(sum[:16]) + `"`}
		return nil
	})
	if err != nil {
		panic("dashboard: " + err.Error())
	}
	return all
}

// Serve answers with a part of the page by its name, or with the page for "". It
// reports false, with nothing written, if there is no such part.
func Serve(w http.ResponseWriter, r *http.Request, name string) bool {
	if name == "" {
		name = index
	}
	p, known := parts[name]
	if !known {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", p.kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	// Caddy's admin endpoint goes by the Referer of its own pages.
	h.Set("Referrer-Policy", "same-origin")
	// A browser may keep it, and asks each time. Nobody in between may, nor put
	// anything into it.
	h.Set("Cache-Control", "private, no-cache, no-transform")
	h.Set("ETag", p.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.body))
	return true
}
