package caddymodule

import (
	"net/http"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/rawhit"
)

// past is a gateway with little memory, whose replicas, one at a time, have a
// script of their version alone, and pages without end.
type past struct {
	*staged
	t *testing.T
}

// vaultSite keeps pages for a minute, so that they want the room.
const vaultSite = "edge_rules {\n\tfingerprinted /assets/*\n\tpage /* {\n\t\tedge 60s\n\t}\n}\nedge_cache\nedge_proxy app"

func startPast(t *testing.T, cache string) *past {
	t.Helper()
	return &past{startStaged(t, "cache {\n\tmemory 1MiB\n\t"+cache+"\n}", vaultSite), t}
}

// deploy has replicas of another version alone, and waits until what the last one
// left is purged.
func (p *past) deploy(version string, to replica) {
	p.t.Helper()
	p.goTo(to)
	eventually(p.t, version+" is current, and the one before purged", func() bool {
		return (controlled{}).Versions()["app"].Current == version && p.generation() > 0
	})
}

func (p *past) generation() float64 { return scrape(p.t, p.metricsURL())["edge_generation"] }

// flood has pages take the place of everything else in memory.
func (p *past) flood(script string) {
	p.t.Helper()
	eventually(p.t, "pages fill the memory", func() bool {
		for range 20 {
			page := "/contacts?n=" + rawhit.NewID()
			for range 6 { // wanted more than the script
				p.get(page)
			}
		}
		var x struct {
			Cache struct{ Decision, Reason string }
		}
		p.control(http.MethodGet, "explain?url="+p.URL+script, nil, &x)
		return x.Cache.Decision == "fetch" || x.Cache.Reason == "vault"
	})
}

// The tab of a visitor stays open over deploys, and its script is there.
func TestAnOpenTabFindsItsScriptLongAfterADeploy(t *testing.T) {
	p := startPast(t, "vault {\n\t\tversions 2\n\t}")
	first := p.get(p.v1)
	if first.StatusCode != http.StatusOK || !first.stored() {
		t.Fatalf("%d, %s: want it stored", first.StatusCode, first.cacheStatus())
	}
	p.goTo(p.old[0], p.new[0])
	p.deploy("v2", p.new[0])
	p.flood(p.v1)
	w := &reasonWorld{t: t, e: p.edge}
	w.shows(t, "vault", "X", response{}, "", http.MethodGet, p.v1, nil)
	got := p.get(p.v1, "X-Request-Id", "reach-vault")
	if got.StatusCode != http.StatusOK || got.Text != first.Text || !strings.HasPrefix(got.cacheStatus(), "edge; hit; ttl=") {
		t.Errorf("%d, %s: want the script that v1 had", got.StatusCode, got.cacheStatus())
	}
	w.shows(t, "vault", "S L", got, "reach-vault", http.MethodGet, p.v1, nil)
	if asked := p.get(p.v1); !asked.hit() || strings.Contains(asked.cacheStatus(), "detail") {
		t.Errorf("%s: want a plain hit after it", asked.cacheStatus())
	}
	if m := scrape(t, p.metricsURL()); m["edge_cache_vault_hits_total"] != 1 || m["edge_cache_vault_max_bytes"] != 1<<17 {
		t.Errorf("%v hits, %v bytes at most: want 1, and an eighth of a MiB", m["edge_cache_vault_hits_total"], m["edge_cache_vault_max_bytes"])
	}

	// Two more versions have come, and theirs are kept.
	for _, version := range []string{"v3", "v4"} {
		next := startReplica(t, version)
		p.deploy(version, next)
		script := scriptOf(t, next)
		if got := p.get(script); got.StatusCode != http.StatusOK || !got.stored() {
			t.Fatalf("%d, %s: want %s stored", got.StatusCode, got.cacheStatus(), version)
		}
		p.flood(script)
	}
	p.flood(p.v1)
	for range 2 {
		if got := p.get(p.v1); got.StatusCode != http.StatusNotFound || got.stored() || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%d, %s, %s: want a 404 that nobody keeps", got.StatusCode, got.cacheStatus(), got.Header.Get("Cache-Control"))
		}
	}
}

// What an operator purges is not in the vault any more, whichever way it is named;
// what a deploy purges is.
func TestWhatIsPurgedDoesNotComeFromTheVault(t *testing.T) {
	p := startPast(t, "")
	p.goTo(p.old[0])
	for name, order := range map[string]func(url string) map[string]any{
		"URL":        func(url string) map[string]any { return map[string]any{"urls": []string{url}} },
		"prefix":     func(string) map[string]any { return map[string]any{"prefixes": []string{p.hostName() + "/assets"}} },
		"everything": func(string) map[string]any { return map[string]any{"everything": true} },
	} {
		t.Run(name, func(t *testing.T) {
			script := p.v1 + "?n=" + rawhit.NewID()
			if got := p.get(script); got.StatusCode != http.StatusOK || !got.stored() {
				t.Fatalf("%d, %s: want it stored", got.StatusCode, got.cacheStatus())
			}
			p.flood(script)
			if state := p.purge(order(p.URL + script)); state != "done" {
				t.Fatalf("the purge is %s", state)
			}
			if got := p.get(script); got.hit() || got.StatusCode != http.StatusOK {
				t.Errorf("%d, %s: want it from a replica", got.StatusCode, got.cacheStatus())
			}
		})
	}
}

func (p *past) hostName() string {
	host, _, _ := strings.Cut(strings.TrimPrefix(p.URL, "http://"), ":")
	return host
}

func TestAVaultThatIsOffKeepsNothing(t *testing.T) {
	p := startPast(t, "vault off")
	p.get(p.v1)
	p.deploy("v2", p.new[0])
	p.flood(p.v1)
	if got := p.get(p.v1); got.StatusCode != http.StatusNotFound {
		t.Errorf("%d, %s: want 404", got.StatusCode, got.cacheStatus())
	}
	for name := range scrape(t, p.metricsURL()) {
		if strings.HasPrefix(name, "edge_cache_vault") {
			t.Errorf("%s: want none of the vault's metrics", name)
		}
	}
}

func TestWordsOfTheVault(t *testing.T) {
	e := newEdge(t)
	for words, want := range map[string]string{
		"vault 1TiB":                   "cache vault 1TiB: want 512KiB at most: half of the memory",
		"vault lots":                   `vault "lots": want a size such as`,
		"vault 1KiB 2":                 `vault: spare argument "2": want off, or a size`,
		"vault {\n\tversions 0\n\t}":   `versions "0": want a whole number of at least 1`,
		"vault off {\n\tversions 2\n}": "vault off",
		"vault {\n\tversion 2\n\t}":    `unknown word "version"`,
	} {
		err := e.load("cache {\n\tmemory 1MiB\n\t"+words+"\n}", "respond ok")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v: want %q", words, err, want)
		}
	}
	for _, words := range []string{"vault", "vault off", "vault 100KiB", "vault 512KiB {\n\tversions 3\n}"} {
		if err := e.load("cache {\n\tmemory 1MiB\n\t"+words+"\n}", "respond ok"); err != nil {
			t.Errorf("%s: %v", words, err)
		}
	}
}
