package peers

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edgegw/edge/bench/object"
	"github.com/edgegw/edge/bench/workloads"
)

var update = flag.Bool("update", false, "rewrite the golden configurations")

var setup = Setup{Listen: "127.0.0.1:8080", Origin: "127.0.0.1:9090", Dir: "/scratch", Sizes: []int{4, 8}, Root: true}

func TestConfigurations(t *testing.T) {
	for _, peer := range All() {
		for _, way := range peer.Ways {
			t.Run(peer.Name+"/"+way.Name, func(t *testing.T) {
				c := way.Configure(setup)
				golden := filepath.Join("testdata", strings.ReplaceAll(peer.Name+"-"+way.Name, " ", "-")+".golden")
				got := strings.Join(c.Env, " ") + " " + strings.Join(c.Args, " ") + "\n\n" + c.Text
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("differs from %s (rewrite with -update):\n%s", golden, got)
				}
				if !slices.ContainsFunc(c.Args, func(arg string) bool { return arg == filepath.Join(setup.Dir, c.File) }) {
					t.Errorf("arguments %q do not name the file %s", c.Args, c.File)
				}
			})
		}
	}
}

func TestEveryPeerIsWhole(t *testing.T) {
	kinds := make(map[workloads.Kind]int)
	for _, peer := range All() {
		if peer.Build == nil || peer.Version == nil || len(peer.Ways) == 0 {
			t.Errorf("%s: want a way to build it, its version and a way to run it", peer.Name)
		}
		names := make(map[string]bool)
		for _, way := range peer.Ways {
			if names[way.Name] || way.Name == "" || way.About == "" {
				t.Errorf("%s/%s: want a name of its own and what it is about", peer.Name, way.Name)
			}
			names[way.Name] = true
			kinds[way.Kind]++
		}
	}
	for _, w := range workloads.All() {
		if kinds[w.Kind] < 3 {
			t.Errorf("%s: %d rows take part: want nginx, stock Caddy and edge", w.Name, kinds[w.Kind])
		}
	}
}

func TestRespondHoldsTheObjects(t *testing.T) {
	text := caddyRespond(setup).Text
	for _, size := range setup.Sizes {
		if want := object.Path(size) + " " + string(object.Body(size)) + "\n"; !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}

func TestOnlyRootNamesAUser(t *testing.T) {
	ordinary := setup
	ordinary.Root = false
	if strings.Contains(nginxProxy(ordinary).Text, "user ") {
		t.Error("nginx warns about the directive user when it does not run as root")
	}
}

// Comparing edge with another Caddy than the one it is built on would say
// nothing.
func TestStockCaddyIsTheCaddyOfEdge(t *testing.T) {
	required := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(caddyModule) + ` (v\S+)`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s requires no %s", path, caddyModule)
		}
		return string(m[1])
	}
	edge := required("../../go.mod")
	for _, path := range []string{"../go.mod", "souin/go.mod"} {
		if peer := required(path); peer != edge {
			t.Errorf("%s has Caddy %s, go.mod has %s: want the same", path, peer, edge)
		}
	}
}

func TestEnvironmentIsNotTheCallers(t *testing.T) {
	t.Setenv("GOGC", "400")
	env := Environment("/scratch", "GOMAXPROCS=1")
	for _, entry := range env {
		if strings.HasPrefix(entry, "GOGC=") {
			t.Error("GOGC of the caller's shell reaches the peers")
		}
	}
	if !slices.Contains(env, "GOMAXPROCS=1") || !slices.Contains(env, "HOME=/scratch") {
		t.Errorf("got %q", env)
	}
}

func TestFindNamesThePackage(t *testing.T) {
	_, err := Find("no-such-program", "some-package")
	if err == nil || !strings.Contains(err.Error(), "some-package") {
		t.Errorf("got %v: want the command that installs it", err)
	}
}
