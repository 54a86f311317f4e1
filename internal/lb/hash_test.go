package lb

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/named"
)

// ring is candidates of which each has its place for good, wherever it stands.
type ring struct {
	row
	places []uint64
}

func (r ring) Place(i int) uint64 { return r.places[i] }

func ringOf(n int) ring {
	r := ring{row: row{up: allUp(n), load: make([]int, n)}}
	for i := range n {
		r.places = append(r.places, hashed(fnvStart, fmt.Sprintf("10.0.0.%d:3000", i+1)))
	}
	return r
}

const manyKeys = 20_000

// owners is where each of many keys goes, by place.
func owners(r ring) []uint64 {
	list := make([]uint64, manyKeys)
	for key := range list {
		list[key] = r.places[rendezvous(r, hashed(fnvStart, fmt.Sprint("tenant-", key)))]
	}
	return list
}

func moved(before, after []uint64) float64 {
	n := 0
	for i := range before {
		if before[i] != after[i] {
			n++
		}
	}
	return float64(n) / float64(len(before))
}

func TestRendezvousSharesKeysEvenly(t *testing.T) {
	for _, n := range []int{2, 10, 100} {
		share := make(map[uint64]int)
		for _, owner := range owners(ringOf(n)) {
			share[owner]++
		}
		// Binomial: six standard deviations hold for every share.
		mean := float64(manyKeys) / float64(n)
		for place, got := range share {
			if math.Abs(float64(got)-mean) > 6*math.Sqrt(mean) {
				t.Errorf("%d replicas: %x has %d keys: want about %.0f", n, place, got, mean)
			}
		}
	}
}

func TestOnlyTheKeysOfWhoComesOrGoesMove(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 5, 10, 100} {
		whole := ringOf(n)
		before := owners(whole)
		without := ringOf(n)
		without.up[n/2] = false
		after := owners(without)
		if share := moved(before, after); share > 1/float64(n)+0.01 {
			t.Errorf("one of %d goes: %.1f %% of the keys move: want 1/n and 1 %%", n, 100*share)
		}
		for i := range before {
			if before[i] != after[i] && before[i] != whole.places[n/2] {
				t.Fatal("a key moved that had nothing to do with it")
			}
		}
		more := ringOf(n + 1)
		after = owners(more)
		for i := range before {
			if before[i] != after[i] && after[i] != more.places[n] {
				t.Fatal("a key moved other than to the newcomer")
			}
		}
	}
}

// TestInSlowStartKeysComeOneByOne: at half its weight a replica has half of its
// keys, and none of them goes back when the weight rises.
func TestInSlowStartKeysComeOneByOne(t *testing.T) {
	r := ringOf(10)
	full := owners(r)
	r.weight = []float64{0, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	had := make([]bool, manyKeys)
	for _, w := range []float64{0.1, 0.5, 1} {
		r.weight[0] = w
		now, n := owners(r), 0
		for i := range now {
			has := now[i] == r.places[0]
			if has {
				n++
			}
			if had[i] && !has {
				t.Fatal("a key went back")
			}
			if now[i] != full[i] && full[i] != r.places[0] {
				t.Fatal("a key of another moved")
			}
			had[i] = has
		}
		// Its weight among the ten: w/(9+w).
		want := float64(manyKeys) * w / (9 + w)
		if math.Abs(float64(n)-want) > 6*math.Sqrt(want) {
			t.Errorf("at weight %.1f it has %d keys: want about %.0f", w, n, want)
		}
	}
}

// TestNobodyGetsMoreThanTheBound: whatever the keys, with requests that come
// and go, nobody is given one that brings it above 1.25 times the mean.
func TestNobodyGetsMoreThanTheBound(t *testing.T) {
	dice := rand.New(rand.NewPCG(7, 9))
	for round := range 50 {
		n := 1 + dice.IntN(12)
		r := ringOf(n)
		hot := 1 + dice.IntN(3) // as few keys as that
		total := 0
		for range 2000 {
			if total > 0 && dice.IntN(3) == 0 {
				i := dice.IntN(n)
				if r.load[i] > 0 {
					r.load[i]--
					total--
				}
				continue
			}
			i := rendezvous(r, hashed(fnvStart, fmt.Sprint(dice.IntN(hot))))
			total++
			r.load[i]++
			if most := int(math.Ceil(boundedLoad * float64(total) / float64(n))); r.load[i] > most {
				t.Fatalf("round %d: %d of %d at one of %d: want at most %d", round, r.load[i], total, n, most)
			}
		}
	}
}

func TestAKeyBeyondTheBoundGoesToTheSameOther(t *testing.T) {
	r := ringOf(5)
	key := hashed(fnvStart, "tenant")
	first := rendezvous(r, key)
	r.load[first] = 100
	second := rendezvous(r, key)
	for range 10 {
		if got := rendezvous(r, key); got == first || got != second {
			t.Fatalf("went to %d, then %d: want always the next in its order", second, got)
		}
	}
}

// TestKeysGoWhereOtherGatewaysSendThem: the numbers are from the published test
// vectors of FNV-1a ("", "a", "foobar") and of splitmix64's first output for
// the seed 0, so that another build, or another program, agrees.
func TestKeysGoWhereOtherGatewaysSendThem(t *testing.T) {
	plain := func(text string) uint64 { // hashed without its end mark
		h := fnvStart
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * 1099511628211
		}
		return h
	}
	for text, want := range map[string]uint64{"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8} {
		if got := plain(text); got != want {
			t.Errorf("FNV-1a of %q: %x: want %x", text, got, want)
		}
		if hashed(fnvStart, text) != (want^0xff)*1099511628211 {
			t.Errorf("%q is not hashed by FNV-1a", text)
		}
	}
	if got := mixed(0x9e3779b97f4a7c15); got != 0xe220a8397b1dcdaf {
		t.Errorf("splitmix64: %x: want e220a8397b1dcdaf", got)
	}
}

func TestWhatAHashGoesBy(t *testing.T) {
	request := func(target string, fields ...string) *http.Request {
		r := &http.Request{URL: must(url.Parse(target)), Host: "Shop.test", RemoteAddr: "192.0.2.1:999", Header: http.Header{}}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Add(fields[i], fields[i+1])
		}
		return r
	}
	same, other := true, false
	tests := map[string]struct {
		args []string
		a, b *http.Request
		want bool
	}{
		"the same header":                 {[]string{"header", "x-tenant"}, request("/a", "X-Tenant", "t1"), request("/b", "X-Tenant", "t1"), same},
		"another header":                  {[]string{"header", "X-Tenant"}, request("/a", "X-Tenant", "t1"), request("/a", "X-Tenant", "t2"), other},
		"the Host, in any case":           {[]string{"header", "Host"}, request("/a"), &http.Request{URL: &url.URL{}, Host: "shop.TEST"}, same},
		"the same cookie":                 {[]string{"cookie", "s"}, request("/a", "Cookie", "x=1; s=7"), request("/b", "Cookie", "s=7"), same},
		"another cookie":                  {[]string{"cookie", "s"}, request("/a", "Cookie", "s=8"), request("/a", "Cookie", "s=7"), other},
		"path and query":                  {[]string{"uri"}, request("/a?b"), request("http://other/a?b"), same},
		"another query":                   {[]string{"uri"}, request("/a?b"), request("/a?c"), other},
		"a path is not a query":           {[]string{"uri"}, request("/a?b"), request("/ab"), other},
		"the client, whatever the target": {[]string{"client_ip"}, request("/a"), request("/b"), same},
	}
	for name, test := range tests {
		p := must(newHash(named.Spec{Name: "hash", Args: test.args})).(hash)
		key := func(r *http.Request) uint64 {
			k, ok := p.key(&exchange{in: r})
			if !ok {
				t.Errorf("%s: no key", name)
			}
			return k
		}
		if got := key(test.a) == key(test.b); got != test.want {
			t.Errorf("%s: alike %t: want %t", name, got, test.want)
		}
	}
}

func TestWhoHasNoKeyGoesWhereItIsFastest(t *testing.T) {
	view := row{up: allUp(5), cost: []float64{9, 8, 1, 7, 3}, request: &http.Request{URL: &url.URL{}}}
	for _, args := range [][]string{{"header", "X-Tenant"}, {"cookie", "s"}} {
		p := must(newHash(named.Spec{Name: "hash", Args: args}))
		if hits := shares(p, view); hits[2] != 500 {
			t.Errorf("%v: %v: want all at the cheapest, and not at the owner of no key", args, hits)
		}
	}
}

func TestTheClientIsWhoTheCallerSays(t *testing.T) {
	x := &exchange{in: &http.Request{RemoteAddr: "[2001:db8::1]:443"}}
	if got := x.Client(); got != "2001:db8::1" {
		t.Errorf("%q: want the connection's address", got)
	}
	x.trace = &Trace{Client: "192.0.2.7"}
	if got := x.Client(); got != "192.0.2.7" {
		t.Errorf("%q: want the caller's word", got)
	}
}

func TestHashRefusesWhatItCannotGoBy(t *testing.T) {
	for _, args := range []string{"", "header", "cookie", "uri x", "client_ip x", "weather", "header X Y", "header X:Y", "cookie a=b"} {
		_, err := newHash(named.Spec{Name: "hash", Args: strings.Fields(args)})
		if err == nil || !strings.Contains(err.Error(), "want client_ip, uri, header NAME or cookie NAME") {
			t.Errorf("hash %s: %v: want what would be right", args, err)
		}
	}
}
