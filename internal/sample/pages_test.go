package sample

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

var named = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`)

// assetsOf is the assets that a page of the replica names.
func assetsOf(t *testing.T, a *app) []string {
	t.Helper()
	var paths []string
	for _, match := range named.FindAllStringSubmatch(text(t, answer(a, "GET", "/", "")), -1) {
		paths = append(paths, match[1])
	}
	if len(paths) != 2 {
		t.Fatalf("the page names %v: want a script and a style", paths)
	}
	return paths
}

func TestPagesNameTheirVersionAndAssets(t *testing.T) {
	for _, path := range []string{"/", "/contacts", "/contacts/3", "/contacts/999", "/login"} {
		a := replica(t, "2.4.0-rc_1")
		r := answer(a, "GET", path, "")
		page := text(t, r)
		for _, part := range []string{
			`<meta name="app-version" content="2.4.0-rc_1">`, "Register 2.4.0-rc_1 ·",
			"/assets/" + a.assets.script, "/assets/" + a.assets.style, "/images/logo.svg",
		} {
			if !strings.Contains(page, part) {
				t.Errorf("%s does not hold %s", path, part)
			}
		}
		if got := r.Header.Get("Cache-Control"); path != "/login" && got != "" {
			t.Errorf("%s says Cache-Control %q: want nothing, rules fill it in", path, got)
		}
	}
}

func TestAssetsCarryTheFingerprintOfTheirContent(t *testing.T) {
	a := replica(t, "v1")
	for _, path := range assetsOf(t, a) {
		r := answer(a, "GET", path, "")
		content := text(t, r)
		if !strings.Contains(path, "."+fingerprint([]byte(content))+".") {
			t.Errorf("%s is not named by its content", path)
		}
		if !strings.Contains(content, `"v1"`) {
			t.Errorf("%s does not hold the version", path)
		}
		if r.Header.Get("Cache-Control") != "" {
			t.Errorf("%s says Cache-Control: want nothing, rules fill it in", path)
		}
	}
	if got := answer(a, "GET", assetsOf(t, a)[1], "").Header.Get("Content-Type"); got != "text/javascript; charset=utf-8" {
		t.Errorf("the script is %q", got)
	}
}

func TestPagesAreRevalidated(t *testing.T) {
	one, two := replica(t, "v1"), replica(t, "v2")
	for _, path := range []string{"/", "/contacts?q=ada", "/contacts/2", "/images/logo.svg", "/assets/" + one.assets.style} {
		tag := answer(one, "GET", path, "").Header.Get("ETag")
		again := answer(replica(t, "v1"), "GET", path, "", "If-None-Match", tag)
		if again.StatusCode != http.StatusNotModified || text(t, again) != "" {
			t.Errorf("%s at another replica of v1: %d: want 304 without a body", path, again.StatusCode)
		}
	}
	tag := answer(one, "GET", "/", "").Header.Get("ETag")
	if r := answer(two, "GET", "/", "", "If-None-Match", tag); r.StatusCode != 200 {
		t.Errorf("v1's tag at v2: %d: want 200", r.StatusCode)
	}
}

func TestAReplicaHasItsOwnAssetsOnly(t *testing.T) {
	one, two := replica(t, "v1"), replica(t, "v2")
	for _, path := range assetsOf(t, one) {
		if got := answer(two, "GET", path, "").StatusCode; got != http.StatusNotFound {
			t.Errorf("v2 answers %d for v1's %s: want 404", got, path)
		}
	}
}

func TestASharedDirectoryHoldsTheAssetsOfAllVersions(t *testing.T) {
	dir := t.TempDir()
	replicas := make([]*app, 12)
	var group sync.WaitGroup
	for i := range replicas {
		group.Go(func() {
			a, err := newApp(Config{Version: fmt.Sprint("v", i%2), AssetsDir: dir}.withDefaults())
			if err != nil {
				t.Error(err)
			}
			replicas[i] = a
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	for i, asking := range replicas {
		for _, path := range assetsOf(t, replicas[(i+1)%2]) {
			r := answer(asking, "GET", path, "")
			if r.StatusCode != 200 || !strings.Contains(path, fingerprint([]byte(text(t, r)))) {
				t.Errorf("replica %d: %s: %d, or other content", i, path, r.StatusCode)
			}
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 4 {
		t.Errorf("the directory holds %v, %v: want two files of two versions", left, err)
	}
}

func TestNothingElseInTheDirectoryIsServed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"secret.txt", "app.0123456789abcdef.map", ".hidden.0123456789abcdef.js"} {
		if err := os.WriteFile(dir+"/"+name, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := newApp(Config{AssetsDir: dir + "/assets"}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/assets/..%2fsecret.txt", "/assets/secret.txt", "/assets/app.0123456789abcdef.map",
		"/assets/.hidden.0123456789abcdef.js", "/assets/", "/assets/app.0123456789abcdef.js",
	} {
		if got := answer(a, "GET", path, "").StatusCode; got != http.StatusNotFound {
			t.Errorf("%s: %d: want 404", path, got)
		}
	}
	if _, err := newApp(Config{AssetsDir: dir + "/secret.txt"}.withDefaults()); err == nil {
		t.Error("a file was accepted as the directory")
	}
}
