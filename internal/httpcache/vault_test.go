package httpcache

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// vaulted is a world whose store is so small that pages soon evict assets, with a
// vault.
type vaulted struct {
	*world
	pages int
}

var (
	assetVerdict = &cacherules.Verdict{Mode: cacherules.Cacheable, Fingerprinted: true, Browser: cacherules.For(year), Edge: cacherules.For(year), Rule: "assets", Tags: []string{"assets"}}
	pageVerdict  = &cacherules.Verdict{Mode: cacherules.Cacheable, Edge: cacherules.For(year), Rule: "pages"}
)

const year = 365 * 24 * time.Hour

const vaultRoom = 64 << 10

func newVaulted(t *testing.T, o *VaultOptions) *vaulted {
	w := &vaulted{world: newWorld(t)}
	w.h.Store.Configure(Options{MaxBytes: 512 << 10, Vault: o})
	return w
}

// ask asks for an asset of which a replica of a version has this; "" for a 404.
func (w *vaulted) ask(path, version, has string) answer {
	w.verdict = assetVerdict
	w.origin.source = Source{Version: version, Replica: "r", Current: true}
	w.origin.answer = respond(http.StatusOK, has)
	if has == "" {
		w.origin.answer = respond(http.StatusNotFound, "no")
	}
	return w.get("http://example.com" + path)
}

// flood has pages take the place of all that is in memory.
func (w *vaulted) flood() {
	w.t.Helper()
	w.verdict = pageVerdict
	w.origin.source = Source{Version: "v9", Current: true}
	w.origin.answer = respond(http.StatusOK, strings.Repeat("x", 4000))
	for n := 0; ; n++ {
		if n == 10_000 {
			w.t.Fatal("some assets stay in memory, whatever comes")
		}
		w.pages++
		page := "http://example.com/page" + strconv.Itoa(w.pages)
		for range 3 { // wanted more than the assets
			w.get(page)
		}
		if n > 200 && w.assetsInMemory() == 0 {
			return
		}
	}
}

func (w *vaulted) assetsInMemory() (n int) {
	for i := range w.h.Store.shards {
		sh := &w.h.Store.shards[i]
		sh.mu.Lock()
		for _, e := range sh.index {
			for ; e != nil; e = e.next {
				if e.rule == assetVerdict.Rule {
					n++
				}
			}
		}
		sh.mu.Unlock()
	}
	return n
}

// fromVault fails unless the answer came from there.
func (a answer) fromVault(t *testing.T, body string) {
	t.Helper()
	a.wants(t, StatusHit, http.StatusOK, body)
	if line := a.Header().Get("Cache-Status"); !strings.HasPrefix(line, "edge; hit; ttl=") || !strings.HasSuffix(line, "; detail=vault") {
		t.Errorf("Cache-Status %q: want a hit from the vault", line)
	}
}

func TestAnAssetOfAVersionThatIsGoneIsInTheVault(t *testing.T) {
	w := newVaulted(t, &VaultOptions{MaxBytes: vaultRoom})
	w.ask("/a.js", "v1", "of v1").wants(t, StatusMiss, http.StatusOK, "of v1")
	w.flood()
	if x := w.h.Explain(httptest.NewRequest("GET", "http://example.com/a.js", nil), assetVerdict, time.Now()); x.Reason != ReasonVault || x.Decision != "serve" {
		t.Errorf("explained as %s, %s: want it served from the vault", x.Decision, x.Reason)
	}
	w.ask("/a.js", "v2", "").fromVault(t, "of v1")
	// Memory has it again, and the vault has not.
	if s := w.h.Store.Stats().Vault; s.Hits != 1 || s.Entries != 0 || s.Bytes != 0 || s.Versions != 0 {
		t.Errorf("%+v: want one hit, and nothing left", s)
	}
	again := w.ask("/a.js", "v2", "")
	again.wants(t, StatusHit, http.StatusOK, "of v1")
	if strings.Contains(again.Header().Get("Cache-Status"), "detail") {
		t.Errorf("Cache-Status %q: want a plain hit", again.Header().Get("Cache-Status"))
	}
	w.flood()
	w.ask("/a.js", "v2", "").fromVault(t, "of v1")
}

func TestWhatElseTheVaultAnswers(t *testing.T) {
	w := newVaulted(t, &VaultOptions{MaxBytes: vaultRoom})
	w.ask("/a.js", "v1", "of v1")
	for method, code := range map[string]int{"HEAD": 200, "GET": 206} {
		w.flood()
		w.verdict, w.origin.answer = assetVerdict, respond(http.StatusNotFound, "no")
		got := w.do(method, "http://example.com/a.js", "Range: bytes=0-1")
		if got.ResponseRecorder.Code != code || got.Reason != ReasonVault {
			t.Errorf("%s: %d, %s: want %d from the vault", method, got.ResponseRecorder.Code, got.Reason, code)
		}
	}
}

func TestWithoutAVaultAnAssetIsGone(t *testing.T) {
	w := newVaulted(t, nil)
	w.ask("/a.js", "v1", "of v1")
	w.flood()
	w.ask("/a.js", "v2", "").wants(t, StatusMiss, http.StatusNotFound, "no")
	if w.h.Store.Stats().Vault != nil {
		t.Error("there is a vault")
	}
}

func TestPurgesReachTheVault(t *testing.T) {
	const url = "http://example.com/assets/a.js"
	tests := map[string]struct {
		purge Purge
		stays bool
	}{
		"its URL":         {Purge{URLs: []string{url}}, false},
		"its URL, softly": {Purge{URLs: []string{url}, Soft: true}, false},
		"its tag":         {Purge{Tags: []string{"assets"}}, false},
		"its prefix":      {Purge{Prefixes: []string{"example.com/assets"}}, false},
		"its host":        {Purge{Hosts: []string{"example.com"}}, false},
		"everything":      {Purge{Everything: true}, false},
		"another URL":     {Purge{URLs: []string{url + "x"}}, true},
		"its version":     {Purge{Versions: []string{"v1"}}, true}, // what a deploy orders
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newVaulted(t, &VaultOptions{MaxBytes: vaultRoom})
			w.ask("/assets/a.js", "v1", "of v1")
			w.flood()
			w.h.Store.Purge(tt.purge)
			got := w.ask("/assets/a.js", "v2", "")
			if tt.stays {
				got.fromVault(t, "of v1")
				return
			}
			got.wants(t, StatusMiss, http.StatusNotFound, "no")
			// Nor does it come back by way of memory.
			w.flood()
			w.ask("/assets/a.js", "v2", "").wants(t, StatusMiss, http.StatusNotFound, "no")
		})
	}
}

func TestAnUnsafeRequestReachesTheVault(t *testing.T) {
	w := newVaulted(t, &VaultOptions{MaxBytes: vaultRoom})
	w.ask("/a.js", "v1", "of v1")
	w.flood()
	w.verdict, w.origin.answer = assetVerdict, respond(http.StatusNoContent, "")
	w.do(http.MethodPut, "http://example.com/a.js")
	w.ask("/a.js", "v2", "").wants(t, StatusMiss, http.StatusNotFound, "no")
}

// A node that may have missed a purge takes nothing from the vault either.
func TestTheVaultIsNotTrustedMoreThanTheRest(t *testing.T) {
	w := newVaulted(t, &VaultOptions{MaxBytes: vaultRoom})
	w.ask("/a.js", "v1", "of v1")
	w.flood()
	trusted := false
	w.h.Store.Trust(func() bool { return trusted })
	if got := w.ask("/a.js", "v2", ""); got.ResponseRecorder.Code != http.StatusNotFound {
		t.Errorf("%d: want 404", got.ResponseRecorder.Code)
	}
	trusted = true
	w.ask("/a.js", "v2", "").fromVault(t, "of v1")
}

func TestAnswersThatVaryAreKeptApart(t *testing.T) {
	w := newVaulted(t, &VaultOptions{MaxBytes: vaultRoom})
	w.verdict = assetVerdict
	w.origin.source = Source{Version: "v1", Current: true}
	for _, kind := range []string{"webp", "avif"} {
		w.origin.answer = respond(http.StatusOK, "as "+kind, "Vary: Accept")
		w.get("http://example.com/a.js", "Accept: image/"+kind)
	}
	w.flood()
	w.verdict, w.origin.answer = assetVerdict, respond(http.StatusNotFound, "no")
	for _, kind := range []string{"webp", "avif"} {
		w.get("http://example.com/a.js", "Accept: image/"+kind).fromVault(t, "as "+kind)
	}
	w.get("http://example.com/a.js", "Accept: image/png").wants(t, StatusMiss, http.StatusNotFound, "no")
}

func TestTheOldestVersionGoesFirst(t *testing.T) {
	w := newVaulted(t, &VaultOptions{MaxBytes: vaultRoom, Versions: 3})
	for _, version := range []string{"v1", "v2", "v3", "v4"} {
		w.ask("/"+version+".js", version, "of "+version)
		w.flood()
	}
	w.ask("/v1.js", "v9", "").wants(t, StatusMiss, http.StatusNotFound, "no")
	for _, version := range []string{"v2", "v3", "v4"} {
		w.ask("/"+version+".js", "v9", "").fromVault(t, "of "+version)
	}
}

func TestBytesAreTakenOfTheOldestVersion(t *testing.T) {
	w := newVaulted(t, &VaultOptions{MaxBytes: vaultRoom})
	body := strings.Repeat("x", 20<<10)
	for _, version := range []string{"v1", "v2", "v3"} {
		w.ask("/"+version+".js", version, version+body)
		w.flood()
	}
	s := w.h.Store.Stats().Vault
	if s.Bytes > vaultRoom || s.Entries != 2 || s.Losses == 0 {
		t.Errorf("%+v: want two of 20 KiB", s)
	}
	w.ask("/v1.js", "v9", "").wants(t, StatusMiss, http.StatusNotFound, "no")
	w.ask("/v3.js", "v9", "").fromVault(t, "v3"+body)
}

// Room is made in the vault where there is nothing else to evict, and when it
// becomes smaller.
func TestTheVaultGivesUpItsRoom(t *testing.T) {
	w := newVaulted(t, &VaultOptions{MaxBytes: vaultRoom})
	for n := range 10 {
		w.ask(fmt.Sprintf("/%d.js", n), "v1", strings.Repeat("x", 5000))
	}
	w.flood()
	full := w.h.Store.Stats()
	if full.Vault.Entries == 0 || full.Bytes > full.MaxBytes {
		t.Fatalf("%+v of %d: want some in the vault", full.Vault, full.Bytes)
	}
	w.h.Store.Configure(Options{MaxBytes: 512 << 10, Vault: &VaultOptions{MaxBytes: 10 << 10}})
	if s := w.h.Store.Stats().Vault; s.Bytes > 10<<10 || s.Entries == 0 {
		t.Errorf("%+v: want 10 KiB", s)
	}
	w.h.Store.Configure(Options{MaxBytes: 4 << 10, Vault: &VaultOptions{MaxBytes: 10 << 10}})
	if s := w.h.Store.Stats(); s.Bytes > 4<<10 {
		t.Errorf("%d bytes: want 4 KiB at most", s.Bytes)
	}
	w.h.Store.Configure(Options{MaxBytes: 512 << 10})
	if s := w.h.Store.Stats(); s.Vault != nil {
		t.Errorf("%+v: want no vault", s.Vault)
	}
}

// Whatever happens at once: what was purged before a request began is not given to
// it, and the cap on all bytes holds.
func TestPurgesAndTheVaultAtOnce(t *testing.T) {
	const urls, rounds = 60, 200
	w := newVaulted(t, nil)
	s := w.h.Store
	s.Configure(Options{MaxBytes: 96 << 10, Vault: &VaultOptions{MaxBytes: 32 << 10, Versions: 3}})
	var epoch, floors [urls]atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	request := func(o *testOrigin, v *cacherules.Verdict, method, path string) answer {
		rec := httptest.NewRecorder()
		res, err := w.h.Serve(rec, httptest.NewRequest(method, "http://example.com"+path, nil), v, o)
		return answer{ResponseRecorder: rec, Result: res, err: err}
	}
	for worker := range 3 { // visitors
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(worker), 7))
			for !stop.Load() {
				i := dice.IntN(urls)
				floor := floors[i].Load()
				o := &testOrigin{source: Source{Version: fmt.Sprint("v", dice.IntN(4)), Current: true}}
				o.answer = func(rw http.ResponseWriter, r *http.Request) error {
					return respond(http.StatusOK, strconv.FormatInt(epoch[i].Load(), 10)+"."+strings.Repeat("x", 3000))(rw, r)
				}
				got := request(o, assetVerdict, http.MethodGet, fmt.Sprintf("/%d.js", i))
				made, _, _ := strings.Cut(got.Body.String(), ".")
				if n, err := strconv.ParseInt(made, 10, 64); err != nil || n < floor {
					t.Errorf("%d.js of epoch %q, %s: want %d at least", i, made, got.Header().Get("Cache-Status"), floor)
					return
				}
			}
		})
	}
	wg.Go(func() { // pages, which evict
		o := &testOrigin{source: Source{Version: "v9", Current: true}, answer: respond(http.StatusOK, strings.Repeat("x", 3000))}
		for n := 0; !stop.Load(); n++ {
			for range 3 {
				request(o, pageVerdict, http.MethodGet, fmt.Sprintf("/page%d", n))
			}
			if st := s.Stats(); st.Bytes > st.MaxBytes {
				t.Errorf("%d bytes: want %d at most", st.Bytes, st.MaxBytes)
				return
			}
		}
	})
	dice := rand.New(rand.NewPCG(1, 7))
	for range rounds {
		i := dice.IntN(urls)
		n := epoch[i].Add(1)
		if path := fmt.Sprintf("/%d.js", i); dice.IntN(3) == 0 {
			request(&testOrigin{answer: respond(http.StatusNoContent, "")}, assetVerdict, http.MethodPut, path)
		} else {
			s.Purge(Purge{URLs: []string{"http://example.com" + path}})
		}
		floors[i].Store(n)
		for before := s.Stats().Stores; s.Stats().Stores < before+10 && !t.Failed(); {
			request(&testOrigin{answer: down}, assetVerdict, http.MethodOptions, "/") // lets others run
		}
	}
	stop.Store(true)
	wg.Wait()
	if st := s.Stats().Vault; st.Hits == 0 || st.Losses == 0 {
		t.Errorf("%+v: the vault was of no use in this test", st)
	}
}

// checkVault holds the vault's books against what it has, which it counts anew.
func (s *schedule) checkVault(store *Store) (held int64) {
	v, shelved := &store.vault, 0
	for version, at := range v.shelves {
		shelved += at.kept.Len()
		if at.kept.Len() == 0 || version == "" {
			s.fault("the vault has an empty shelf, of version %q", version)
		}
	}
	for key, all := range v.index {
		sh := store.shard(store.hash([]byte(key)))
		for _, k := range all {
			held += k.bytes
			shelved--
			if !v.shelves[k.version].kept.Contains(k) {
				s.fault("%s is in the vault's index, and on no shelf", key)
			}
			for e := range sh.stored(store.hash([]byte(key)), []byte(key)) {
				if sameVary(e.vary(), k.vary) {
					s.fault("%s is in memory and in the vault", key)
				}
			}
		}
	}
	if shelved != 0 || held != v.bytes || held > v.most.Load() || len(v.shelves) > v.versions {
		s.fault("the vault's books say %d bytes of %d; there are %d, %d more on shelves than in the index, %d of %d versions",
			v.bytes, v.most.Load(), held, shelved, len(v.shelves), v.versions)
	}
	return held
}
