package lb

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/named"
)

func TestProcessWords(t *testing.T) {
	bad := named.Spec{Name: "process", Args: []string{"server"}, Options: map[string][]string{
		"env": {"=x"}, "replicas": {"none"}, "host": {"a b"}, "ports": {"4099-4000"}, "ready": {"soon"}, "grace": {"1s", "2s"}, "dir": {}, "usr": {"www"},
	}}
	_, err := newProcesses(bad)
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, want := range []string{
		`process env "=x": want NAME=value, NAME to pass a variable on, or * for all`,
		`process replicas "none": want a whole number from 1 to 1000`,
		`process host "a b": address "a b:1": want host:port`,
		`process ports "4099-4000": want a range such as 4000-4099`,
		`process ready: "soon": want a duration`,
		`process grace: got 2 words: want one duration`,
		`process dir: got 0 words: want one`,
		`unknown word "usr": want one of env, dir, user, replicas, host, ports, ready, grace`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	twice := Config{Discover: []named.Spec{childrenOf("one", 1), childrenOf("two", 1)}}
	if err := twice.Validate(); err == nil || !strings.Contains(err.Error(), "discover process: given 2 times: want one in a pool") {
		t.Errorf("two in a pool: %v", err)
	}
}

func TestProcessesListenInTheRangeThatTheyAreGiven(t *testing.T) {
	// A free port, and it alone: the second replica finds none.
	w := &warden{launch: launch{program: program{host: "127.0.0.1"}}}
	port := must(w.port())
	p, _ := newTestPool(t, childConfig(childrenOf("one", 2, "ports", fmt.Sprintf("%d-%d", port, port))))
	eventually(t, "one is up", func() bool { return upCount(p) == 1 })
	want := fmt.Sprintf("process ports %d-%d: none is free", port, port)
	eventually(t, "the other has no port", func() bool { return p.Status().Sources[0].Problem == want })
	if r := p.Status().Replicas[0]; r.Address != fmt.Sprintf("127.0.0.1:%d", port) {
		t.Errorf("listens at %s: want port %d", r.Address, port)
	}
}
