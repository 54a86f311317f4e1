package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// pipeline is CI's part of a deploy: the script waits, while whoever runs the
// replicas does what is said.
func (x *rolling) pipeline(version, timeout string, rollOut func()) (ran, string) {
	x.t.Helper()
	type outcome struct {
		ran    ran
		output string
	}
	called := make(chan outcome, 1)
	go func() {
		r, output := x.script(x.t, "scripts/ci-deploy.sh", "EDGE_SERVER="+x.url+"/.edge", "EDGE_TOKEN="+controlToken,
			"EDGE_VERSION="+version, "EDGE_TIMEOUT="+timeout, "EDGE_VERIFY="+x.url+"/contacts")
		called <- outcome{r, output}
	}()
	rollOut()
	out := <-called
	return out.ran, out.output
}

// TestTenDeploysAndABadOne: ten versions in a row go out without a failure; one that
// fails is stopped, and the pipeline, which hears of it by the exit code, takes its
// replica away again. Visitors notice nothing, and the next version goes out.
func TestTenDeploysAndABadOne(t *testing.T) {
	t.Parallel()
	x := rollout(t, 2, "GUARD")
	stop := x.visit()
	good := func(version string) {
		t.Helper()
		r, output := x.pipeline(version, "2m", func() { x.roll(version, 2) })
		if r.code != 0 || !strings.Contains(output, "state=done\nexit=0\n") || x.current() != version {
			t.Fatalf("%s: exit %d, outputs %q, current %s\n%s%s\n%s", version, r.code, output, x.current(), r.stdout, r.stderr, x.log)
		}
		if page, _ := x.page("/contacts"); !strings.Contains(page, fmt.Sprintf("content=%q", version)) {
			t.Errorf("after the deploy of %s a page of another version: %.300s", version, page)
		}
	}
	for n := range 10 {
		good(fmt.Sprint("v", n+2))
	}
	calls := len(x.cloudflare.Calls())
	if calls > 20 {
		t.Errorf("ten deploys took %d calls of Cloudflare: want two each", calls)
	}

	r, output := x.pipeline("v12", "2m", func() {
		x.add("v12")
		bad := x.replicas[len(x.replicas)-1]
		got, err := http.Post("http://"+bad.address+"/trouble?for=4m", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
	})
	if r.code != 7 || !strings.Contains(output, "exit=7\n") || !strings.Contains(r.stderr, "v12 is worse than v11") {
		t.Fatalf("a bad one: exit %d, outputs %q\n%s%s\n%s", r.code, output, r.stdout, r.stderr, x.log)
	}
	x.replicas = x.replicas[:len(x.replicas)-1] // the rollback
	x.name()
	x.eventually("the bad replica is gone", func() bool { return len(x.seen().Pools[0].Replicas) == 2 })
	if made := len(x.cloudflare.Calls()); made != calls || x.current() != "v11" {
		t.Errorf("after the bad one %d calls of Cloudflare, current %s: want %d and v11", made, x.current(), calls)
	}
	good("v13")
	stop()
	for i, d := range x.seen().Deploys.Last {
		if d.Version == "v12" && d.State == "done" || i == 0 && (d.Version != "v13" || d.State != "done") {
			t.Errorf("in the history: %+v", d)
		}
	}
}
