package sample

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
	"time"
)

var (
	//go:embed files/app.js
	scriptSource string
	//go:embed files/style.css
	styleSource string
	//go:embed files/logo.svg
	logoSource []byte
)

// assetName is the only shape of name that is ever looked up in a directory.
var assetName = regexp.MustCompile(`^[a-z]+\.[0-9a-f]{16}\.(js|css)$`)

// assets are the files of one version under names that hold the fingerprint of
// their content, and the directory, if any, where other versions left theirs.
type assets struct {
	script, style string // names
	own           map[string][]byte
	dir           string
}

// buildAssets puts the version into the sources, as a build does, and adds the
// results to the shared directory, if there is one.
func buildAssets(version, dir string) (assets, error) {
	a := assets{own: make(map[string][]byte), dir: dir}
	for _, source := range []struct {
		name *string
		stem string
		ext  string
		text string
	}{{&a.script, "app", "js", scriptSource}, {&a.style, "style", "css", styleSource}} {
		var content bytes.Buffer
		facts := struct {
			Version string
			Hue     int
		}{version, hue(version)}
		// The version is a checked label: it needs no escaping in either file.
		if err := template.Must(template.New(source.stem).Parse(source.text)).Execute(&content, facts); err != nil {
			return assets{}, fmt.Errorf("build %s.%s: %w", source.stem, source.ext, err)
		}
		*source.name = source.stem + "." + fingerprint(content.Bytes()) + "." + source.ext
		a.own[*source.name] = content.Bytes()
	}
	return a, a.share()
}

// fingerprint is the first 16 hexadecimal digits of the SHA-256 of content.
func fingerprint(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// hue is an accent colour of the version's own, so that people see a deploy.
func hue(version string) int {
	sum := sha256.Sum256([]byte(version))
	return (int(sum[0])<<8 | int(sum[1])) % 360
}

// share leaves the assets in the shared directory. Replicas of one version do
// so at the same time, so each file appears whole, by a rename.
func (a assets) share() error {
	if a.dir == "" {
		return nil
	}
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return err
	}
	for name, content := range a.own {
		if err := writeWhole(filepath.Join(a.dir, name), content); err != nil {
			return fmt.Errorf("share asset %s: %w", name, err)
		}
	}
	return nil
}

func writeWhole(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, writeErr := f.Write(content)
	// Readable for replicas that run as another user.
	if err := errors.Join(writeErr, f.Chmod(0o644), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// find is the content of an asset of this version, or of one left by another.
func (a assets) find(name string) ([]byte, error) {
	if content, ok := a.own[name]; ok {
		return content, nil
	}
	if a.dir == "" || !assetName.MatchString(name) {
		return nil, fs.ErrNotExist
	}
	return os.ReadFile(filepath.Join(a.dir, name))
}

func (a *app) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	content, err := a.assets.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, "the asset cannot be read", http.StatusInternalServerError)
		return
	}
	kind := "text/css; charset=utf-8"
	if strings.HasSuffix(name, ".js") {
		kind = "text/javascript; charset=utf-8"
	}
	serve(w, r, kind, content)
}

func (a *app) logo(w http.ResponseWriter, r *http.Request) {
	serve(w, r, "image/svg+xml", logoSource)
}

// serve answers a GET or HEAD with content: conditions and ranges included
// (RFC 9110, 13 and 14), no word about caching.
func serve(w http.ResponseWriter, r *http.Request, kind string, content []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("ETag", `"`+fingerprint(content)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
