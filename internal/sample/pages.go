package sample

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strconv"
)

//go:embed files/pages.html
var pagesSource string

var templates = template.Must(template.New("pages").Parse(pagesSource))

const htmlType = "text/html; charset=utf-8"

// pages renders HTML that names its version and the assets of that version.
// Public pages are the same for everyone: who is signed in is the script's to
// ask, so that caches may keep them.
type pages struct {
	version, script, style string
}

type page struct {
	Version, Script, Style string
	Title, Query           string
	Content                any
}

// render fills in the frame of p and executes the named template.
func (ps pages) render(name string, p page) ([]byte, error) {
	p.Version, p.Script, p.Style = ps.version, ps.script, ps.style
	var body bytes.Buffer
	err := templates.ExecuteTemplate(&body, name, p)
	return body.Bytes(), err
}

// public answers with a page that any cache may keep, if its rules say so.
func (a *app) public(w http.ResponseWriter, r *http.Request, name string, p page) {
	body, err := a.pages.render(name, p)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	serve(w, r, htmlType, body)
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	a.public(w, r, "home", page{Title: "Register", Content: a.contacts.search("")})
}

func (a *app) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query().Get("q")
	a.public(w, r, "list", page{Title: "Contacts", Query: query, Content: a.contacts.search(query)})
}

func (a *app) detail(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	c, ok := a.contacts.get(id)
	if err == nil && ok {
		a.public(w, r, "detail", page{Title: c.Name, Content: c})
		return
	}
	body, err := a.pages.render("missing", page{Title: "Not found"})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", htmlType)
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write(body) // an error is the client's going away
}
