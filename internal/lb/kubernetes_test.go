package lb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/named"
)

// followed is a pool that follows a service with one replica, a; b is none yet.
func followed(t *testing.T) (k *apiServer, a, b *app, p *Pool, seen *events) {
	t.Helper()
	k, a, b = newAPIServer(t), newApp(t, say("a")), newApp(t, say("b"))
	k.set("app-a", pods(portOf(a.address), "127.0.0.1 ready"))
	config := testConfig()
	config.Discover = []named.Spec{k.spec()}
	p, seen = upPool(t, config, a)
	return k, a, b, p, seen
}

func TestKubernetesFollowsAService(t *testing.T) {
	k, a, b, p, seen := followed(t)
	c := newApp(t, say("c"))
	k.set("app-b", pods(portOf(b.address), "127.0.0.1 starting"))
	k.set("app-b", pods(portOf(b.address), "127.0.0.1 ready"))
	seen.await(t, ReplicaUp, b.address)
	k.set("app-a", pods(portOf(a.address), "127.0.0.1 ending")) // It serves still, and is left alone.
	seen.await(t, ReplicaDraining, a.address)

	// A watch that ends goes on from the bookmark, without a list.
	k.bookmark()
	k.end(t, "\n")
	k.set("app-c", pods(portOf(c.address), "127.0.0.1 ready"))
	seen.await(t, ReplicaUp, c.address)
	k.mu.Lock()
	lists, from := k.lists, k.asked
	k.mu.Unlock()
	if want := "[2 6]"; lists != 1 || fmt.Sprint(from) != want {
		t.Errorf("%d lists and watches from %v: want one, and %s", lists, from, want)
	}
	k.set("app-b", nil)
	seen.await(t, ReplicaDraining, b.address)
	if n := seen.count(DiscoveryFailed); n != 0 {
		t.Errorf("%d failures of a server that answered all the time", n)
	}
	if code, text, _ := mustGet(t, p); code != 200 || text != "c" {
		t.Errorf("answered %d %q: want c", code, text)
	}
}

// TestKubernetesOutlivesItsServer: whatever a watch ends with, the replicas
// stay, and what has changed meanwhile is found.
func TestKubernetesOutlivesItsServer(t *testing.T) {
	for what, with := range map[string]string{
		"a connection that breaks":     "reset",
		"an event cut in the middle":   `{"type":"ADDED","object":{"kind":"EndpointSl`,
		"garbage":                      "<html>502</html>\n",
		"an event of no known type":    `{"type":"SYNC","object":{}}` + "\n",
		"an object of another kind":    `{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"x","resourceVersion":"3"}}}` + "\n",
		"a change without its version": `{"type":"ADDED","object":{"kind":"EndpointSlice","metadata":{"name":"x"}}}` + "\n",
		"an error":                     `{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd"}}` + "\n",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k, _, b, p, seen := followed(t)
			k.end(t, with)
			seen.await(t, DiscoveryFailed, "")
			if st := p.Status().Sources[0]; st.Found != 1 || st.Problem == "" {
				t.Errorf("status %+v: want the one replica, and the problem", st)
			}
			mustGet(t, p)
			k.set("app-b", pods(portOf(b.address), "127.0.0.1 ready"))
			seen.await(t, ReplicaUp, b.address)
			seen.await(t, DiscoveryRecovered, "")
			if seen.count(ReplicaDraining) != 0 {
				t.Error("a watch that failed took a replica away")
			}
		})
	}
}

func TestKubernetesListsAnewWhenHistoryIsGone(t *testing.T) {
	k, a, b, _, seen := followed(t)
	for range 2 { // From an odd version, and from an even one.
		k.set("app-a", pods(portOf(a.address), "127.0.0.1 ready"))
		k.end(t, "\n")
		k.forget()
		k.set("app-a", pods(portOf(a.address), "127.0.0.1 ready"))
		k.forget()
		lists := func() int { k.mu.Lock(); defer k.mu.Unlock(); return k.lists }
		before := lists()
		eventually(t, "another list", func() bool { return lists() > before })
	}
	k.set("app-b", pods(portOf(b.address), "127.0.0.1 ready"))
	seen.await(t, ReplicaUp, b.address)
	if seen.count(DiscoveryFailed) != 0 || seen.count(ReplicaDraining) != 0 {
		t.Error("a history that was dropped is a failure: want a new list, and nothing else")
	}
}

func TestKubernetesReadsRotatedTokens(t *testing.T) {
	k, _, b, p, seen := followed(t)
	k.watched(t) // What it was let in with holds; what comes next is refused.
	k.change(func() { k.token = "second" })
	k.end(t, "reset")
	eventually(t, "the problem", func() bool {
		return strings.Contains(p.Status().Sources[0].Problem, "want a token that this server takes")
	})
	mustGet(t, p)
	k.file(t, "token", "second")
	k.set("app-b", pods(portOf(b.address), "127.0.0.1 ready"))
	seen.await(t, ReplicaUp, b.address)
}

// one follows a discovery until it fails or ctx ends, without a pool.
func one(ctx context.Context, t *testing.T, spec named.Spec, report func([]Address)) error {
	t.Helper()
	d := must(newKubernetes(spec)).(kubernetes)
	empties := 0
	_, err := d.follow(ctx, Feed{Found: report, Failed: func(error) {}}, &sightings{}, &empties)
	return err
}

func TestKubernetesInAPod(t *testing.T) {
	k := newAPIServer(t)
	k.set("app-a", pods("3000", "10.0.0.7 ready"))
	server := must(url.Parse(k.URL))
	t.Setenv("KUBERNETES_SERVICE_HOST", server.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", server.Port())
	d := must(newKubernetes(named.Spec{Name: "kubernetes", Args: []string{"app"}})).(kubernetes)
	d.account = k.dir
	ctx, cancel := context.WithCancel(t.Context())
	var got []Address
	empties := 0
	_, err := d.follow(ctx, Feed{Found: func(set []Address) { got = set; cancel() }, Failed: func(error) {}}, &sightings{}, &empties)
	if want := []Address{"10.0.0.7:3000"}; !slices.Equal(got, want) || !errors.Is(err, context.Canceled) {
		t.Errorf("found %v, %v: want %v", got, err, want)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := d.connect(); err == nil || !strings.Contains(err.Error(), "want edge to run in a pod, or a server") {
		t.Errorf("outside of a pod: %v", err)
	}
}

func TestKubernetesBelievesAnEmptyServiceTheThirdTime(t *testing.T) {
	k := newAPIServer(t)
	spec := k.spec()
	spec.Options["selector"] = []string{"track=canary"}
	d := must(newKubernetes(spec)).(kubernetes)
	empties, reports := 0, 0
	ctx, cancel := context.WithCancel(t.Context())
	feed := Feed{Found: func(set []Address) { reports += 1 + 100*len(set); cancel() }, Failed: func(error) {}}
	for range 2 {
		if _, err := d.follow(ctx, feed, &sightings{}, &empties); !errors.Is(err, errNoSlice) || reports != 0 {
			t.Fatalf("%v after %d reports: want errNoSlice, and none", err, reports)
		}
	}
	if _, err := d.follow(ctx, feed, &sightings{}, &empties); !errors.Is(err, context.Canceled) || reports != 1 {
		t.Errorf("%v after %d reports: want one, of nothing", err, reports)
	}
}

func TestKubernetesSaysWhatIsWrong(t *testing.T) {
	k := newAPIServer(t)
	k.file(t, "empty", " \n")
	k.file(t, "two", "one two")
	for want, change := range map[string][2]string{
		"want a role that may list and watch endpointslices":   {"namespace", "secret"},
		"404 Not Found the server could not find the requeste": {"namespace", "elsewhere"},
		"302 Found":                           {"namespace", "moved"}, // The token does not follow.
		"certificate signed by unknown":       {"ca_file", ""},
		"holds no certificate":                {"ca_file", k.dir + "/token"},
		"no such file":                        {"token_file", k.dir + "/none"},
		"want one token, and nothing else":    {"token_file", k.dir + "/two"},
		`empty": want one token`:              {"token_file", k.dir + "/empty"},
		"does the service exist":              {"selector", "track=canary"},
		"http: server gave HTTP response to ": {"server", strings.Replace(newApp(t, say("")).URL, "http:", "https:", 1)},
	} {
		spec := k.spec()
		spec.Options[change[0]] = []string{change[1]}
		if change[1] == "" {
			delete(spec.Options, change[0])
		}
		err := one(t.Context(), t, spec, func([]Address) { t.Error("reported a set") })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
}

func TestKubernetesChoosesEndpoints(t *testing.T) {
	both := pods("3000", "10.0.0.1 ready", "10.0.0.2 ready")
	six := pods("3000", "10.0.0.1 ready", "10.0.0.2 ready")
	for _, e := range six["endpoints"].([]map[string]any) {
		e["addresses"] = []string{"fd00::" + e["addresses"].([]string)[0][7:]}
	}
	bare := pods("3000", "10.0.0.1 ready")
	delete(bare["endpoints"].([]map[string]any)[0], "conditions")
	delete(bare["endpoints"].([]map[string]any)[0], "targetRef")
	wrong := pods("3000", "app.test ready", "10.0.0.2 ready")
	ports := pods("3000", "10.0.0.1 ready")
	ports["ports"] = []map[string]any{{"name": "http", "port": 80}, {"name": "admin", "port": 81, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}}
	none := map[string]any{"kind": "EndpointSlice", "ports": nil, "endpoints": nil}
	tests := map[string]struct {
		d     kubernetes
		seen  []string // was ready before
		lists []map[string]any
		want  string
	}{
		"ready ones":                        {lists: []map[string]any{both}, want: "[10.0.0.1:3000 10.0.0.2:3000] <nil>"},
		"no condition is ready":             {lists: []map[string]any{bare}, want: "[10.0.0.1:3000] <nil>"},
		"both families count once, by IPv4": {lists: []map[string]any{six, both, six}, want: "[10.0.0.1:3000 10.0.0.2:3000] <nil>"},
		"IPv6 alone":                        {lists: []map[string]any{six}, want: "[[fd00::1]:3000 [fd00::2]:3000] <nil>"},
		"two slices, the better state":      {lists: []map[string]any{pods("3000", "10.0.0.1 sick"), pods("3000", "10.0.0.1 ready")}, want: "[10.0.0.1:3000] <nil>"},
		"two pods at one address":           {lists: []map[string]any{pods("3000", "10.0.0.1 ready", "10.0.0.2 ready"), bare}, want: "[10.0.0.1:3000 10.0.0.2:3000] <nil>"},
		"no pods at all":                    {lists: []map[string]any{none}, want: "[] <nil>"},
		"starting ones wait":                {lists: []map[string]any{pods("3000", "10.0.0.1 ready", "10.0.0.2 new", "10.0.0.3 new", "10.0.0.4 new")}, want: "[10.0.0.1:3000] <nil>"},
		"all are starting: the pool's own checks await them": {lists: []map[string]any{pods("3000", "10.0.0.1 new", "10.0.0.2 new")}, want: "[10.0.0.1:3000 10.0.0.2:3000] <nil>"},
		"one turned sick":                                       {seen: []string{"1", "2", "3"}, lists: []map[string]any{pods("3000", "10.0.0.1 ready", "10.0.0.2 ready", "10.0.0.3 sick")}, want: "[10.0.0.1:3000 10.0.0.2:3000] <nil>"},
		"most turned sick: that is presumed wrong":              {seen: []string{"1", "2", "3"}, lists: []map[string]any{pods("3000", "10.0.0.1 ready", "10.0.0.2 sick", "10.0.0.3 sick")}, want: "[10.0.0.1:3000 10.0.0.2:3000 10.0.0.3:3000] <nil>"},
		"ending ones are drained":                               {lists: []map[string]any{pods("3000", "10.0.0.1 ready", "10.0.0.2 ending", "10.0.0.3 useless")}, want: "[10.0.0.1:3000] <nil>"},
		"nobody else is left: ending ones that serve are asked": {lists: []map[string]any{pods("3000", "10.0.0.2 ending", "10.0.0.3 useless")}, want: "[10.0.0.2:3000] <nil>"},
		"a bad address names its slice, the others stay":        {lists: []map[string]any{wrong}, want: `[10.0.0.2:3000] slice 0: address "app.test": want an IP address`},
		"two ports":                                    {lists: []map[string]any{ports}, want: `[] slice 0: it has 2 TCP ports ["http" "admin"]: say which, by port`},
		"two ports, one named":                         {d: kubernetes{portName: "admin"}, lists: []map[string]any{ports}, want: "[10.0.0.1:81] <nil>"},
		"a port that is not there":                     {d: kubernetes{portName: "dns"}, lists: []map[string]any{ports}, want: "[] slice 0: port dns: it has none of this name"},
		"the number of the configuration is not asked": {d: kubernetes{port: 9}, lists: []map[string]any{ports}, want: "[10.0.0.1:9] <nil>"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			all := make(map[string]slice)
			for i, one := range test.lists {
				var s slice
				if err := json.Unmarshal(must(json.Marshal(one)), &s); err != nil {
					t.Fatal(err)
				}
				all[fmt.Sprint(i)] = s
			}
			told := &sightings{seen: make(map[string]bool)}
			for _, last := range test.seen {
				told.seen["uid-10.0.0."+last+"3000:3000"] = true
			}
			list, err := test.d.replicas(all, told)
			set, ranks := ranking(list)
			if got := fmt.Sprint(set, " ", err); got != test.want {
				t.Errorf("%s: want %s", got, test.want)
			}
			for address, rank := range ranks {
				if rank.weight != 1 {
					t.Errorf("%s has weight %v: want 1, as all have", address, rank.weight)
				}
			}
		})
	}
}

func TestKubernetesWords(t *testing.T) {
	_, err := newKubernetes(named.Spec{Name: "kubernetes", Args: []string{"App"}, Options: map[string][]string{
		"namespace": {"a/b"}, "port": {"70000"}, "server": {"http://10.0.0.1:8080"}, "token_file": {"token"}, "ca_file": {}, "selector": {"a", "b"},
	}})
	for _, want := range []string{
		`kubernetes service "App": want lower case`, `kubernetes namespace "a/b"`, `kubernetes port "70000": want a number from 1 to 65535, or the name`,
		`kubernetes server "http://10.0.0.1:8080": want https, or http to this machine itself`, `kubernetes token_file "token": want the whole path`,
		"kubernetes ca_file: got 0 words", "kubernetes selector: got 2 words",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
	for _, server := range []string{"10.0.0.1:443", "https://me:pw@h", "ftp://127.0.0.1", "https://h?x=1"} {
		if _, err := newKubernetes(named.Spec{Name: "kubernetes", Args: []string{"app"}, Options: map[string][]string{"server": {server}}}); err == nil {
			t.Errorf("takes server %q", server)
		}
	}
	d := must(newKubernetes(named.Spec{Name: "kubernetes", Options: map[string][]string{"selector": {"team=web"}, "server": {"http://127.0.0.1:8001"}}})).(kubernetes)
	if got := d.labels(); got != "team=web" {
		t.Errorf("selects %q", got)
	}
}

// FuzzKubernetes: whatever a server sends, nothing panics, and what comes of it
// are addresses, each once.
func FuzzKubernetes(f *testing.F) {
	list := map[string]any{"kind": "EndpointSliceList", "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{}}
	f.Add(must(json.Marshal(list)), []byte(`{"type":"BOOKMARK","object":{"kind":"EndpointSlice","metadata":{"resourceVersion":"2"}}}`))
	s := pods("3000", "10.0.0.1 ready", "10.0.0.2 ending", "fd00::1 sick")
	s["metadata"] = map[string]any{"name": "app-a", "resourceVersion": "3"}
	list["items"] = []any{s}
	f.Add(must(json.Marshal(list)), must(json.Marshal(map[string]any{"type": "MODIFIED", "object": s})))
	f.Add([]byte("{}"), []byte(`{"type":"ERROR","object":{"code":410}}{"type":"ADDED"`))
	f.Fuzz(func(t *testing.T, listed, watched []byte) {
		all, _, err := readSlices(strings.NewReader(string(listed)))
		if err != nil {
			all = make(map[string]slice)
		}
		told := &sightings{seen: make(map[string]bool)}
		sound := func() {
			var found []Address
			for _, a := range first(kubernetes{}.replicas(all, told)) {
				if parsed, err := ParseAddress(string(a.address)); err != nil || parsed != a.address {
					t.Fatalf("found %q, %v", a.address, err)
				}
				if slices.Contains(found, a.address) {
					t.Fatalf("found %q twice", a.address)
				}
				found = append(found, a.address)
			}
		}
		sound()
		_ = readWatch(strings.NewReader(string(watched)), func(e watchEvent) error {
			if e.slice.Metadata.ResourceVersion == "" {
				t.Fatal("an event without a version was passed on")
			}
			all[e.slice.Metadata.Name] = e.slice
			sound()
			return nil
		})
	})
}

func first[T, U any](v T, _ U) T { return v }

func TestKubernetesRefusesEndlessEvents(t *testing.T) {
	endless := strings.NewReader(`{"type":"ADDED","object":{"kind":"` + strings.Repeat("x", mostEvent+1))
	err := readWatch(endless, func(watchEvent) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "larger than") || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v: want an event that is too large", err)
	}
}
