package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// caching is a player that has everything cached but what is below /private.
type caching struct{ seen map[string]bool }

func (c *caching) Play(l *Line) (Played, error) {
	if strings.HasPrefix(l.Request.URI, "/private") {
		return Played{Verdict: VerdictOf("private", "bypass", "rule"), Asked: true, Bytes: l.Size}, nil
	}
	hit := c.seen[l.Request.URI]
	c.seen[l.Request.URI] = true
	p := Played{Verdict: VerdictOf("page", "hit", ""), Hit: hit, Asked: !hit}
	if !hit {
		p.Bytes = l.Size
	}
	return p, nil
}

func line(uri, cache, reason, rule string) string {
	return fmt.Sprintf(`{"level":"info","ts":1795466441.5,"request":{"method":"GET","host":"a.test","uri":%q},"status":200,"size":10,"rule":%q,"cache":%q,"cache_reason":%q}`+"\n", uri, rule, cache, reason)
}

func run(t *testing.T, log string) (Report, error) {
	t.Helper()
	return Run(context.Background(), Config{Log: strings.NewReader(log), Name: "access.log", Candidate: &caching{make(map[string]bool)}})
}

func TestBeforeAndAfter(t *testing.T) {
	r, err := run(t, line("/a", "miss", "", "page")+line("/a?q=1", "hit", "", "page")+line("/b", "bypass", "rule", "private")+
		line("/b", "bypass", "rule", "private")+line("/private", "bypass", "rule", "private")+
		`{"level":"info","ts":1,"msg":"server running"}`+"\n\n"+`{"ts":17954664`)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 5 || r.Other != 3 || !r.First.Equal(time.Unix(1795466441, 500_000_000)) {
		t.Errorf("%d requests, %d other lines, from %s: want 5, 3 and the time of the first", r.Requests, r.Other, r.First)
	}
	if want := (Side{Requests: 5, Hits: 1, Origin: 4, Bytes: 40}); r.Before != want {
		t.Errorf("before %+v: want %+v", r.Before, want)
	}
	if want := (Side{Requests: 5, Hits: 1, Origin: 4, Bytes: 40}); r.After != want {
		t.Errorf("after %+v: want %+v: /b is a hit now, and /a?q=1 another page", r.After, want)
	}
	if len(r.Changes) != 1 || r.Changes[0].URL != "a.test/b" || r.Changes[0].Requests != 2 ||
		r.Changes[0].Before.String() != "bypass: rule [private]" || r.Changes[0].After.String() != "cached [page]" {
		t.Errorf("changes %+v: want that of /b", r.Changes)
	}
	var out strings.Builder
	if err := Print(&out, r, "log", 10); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5 requests", "hit ratio        20.0 %  20.0 %", "2         a.test/b  bypass: rule [private]  cached [page]"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, out.String())
		}
	}
}

func TestAMistakeNamesLineAndValue(t *testing.T) {
	good := line("/a", "miss", "", "page")
	for name, c := range map[string]struct{ bad, want string }{
		"no JSON":            {`127.0.0.1 - - "GET /" "request"`, `access.log:2: "127.0.0.1 - - \"GET /\" \"request\""`},
		"a number for text":  {`{"ts":1,"request":{"method":7}}`, "access.log:2: request.method: got a number: want a string"},
		"a URI without path": {strings.Replace(good, `"/a"`, `"a.test"`, 1), `access.log:2: request.uri "a.test": want a path`},
		"no time":            {strings.Replace(good, "1795466441.5", "0", 1), "access.log:2: ts 0: want seconds since 1970"},
		"no host":            {strings.Replace(good, "a.test", "", 1), `access.log:2: request.host "": want a host`},
		"no such status":     {strings.Replace(good, "200", "20", 1), "access.log:2: status 20: want one of three digits"},
		"a negative size":    {strings.Replace(good, `"size":10`, `"size":-1`, 1), "access.log:2: size -1: want bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := run(t, good+strings.TrimSpace(c.bad)+"\n"+good); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v: want %s", err, c.want)
			}
		})
	}
}

func TestALongLineIsReadWhole(t *testing.T) {
	long := "/" + strings.Repeat("x", 3<<20)
	r, err := run(t, line("/a", "miss", "", "page")+line(long, "miss", "", "page")+line(long, "hit", "", "page"))
	if err != nil || r.Requests != 3 || r.After.Hits != 1 {
		t.Errorf("%+v, %v: want 3 requests, the last a hit", r, err)
	}
}

func TestProgressIsTold(t *testing.T) {
	var lines, bytes int64
	log := strings.Repeat(line("/a", "miss", "", "page"), 3*progressStep)
	_, err := Run(context.Background(), Config{
		Log: strings.NewReader(log), Name: "access.log", Candidate: &caching{make(map[string]bool)},
		Progress: func(b, l int64) { bytes, lines = b, l },
	})
	if err != nil || lines != 3*progressStep || bytes != int64(len(log)) {
		t.Errorf("told %d lines, %d bytes, %v: want all of them", lines, bytes, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Run(ctx, Config{Log: strings.NewReader(log), Name: "access.log", Candidate: &caching{make(map[string]bool)}}); err == nil {
		t.Error("it goes on though nobody waits")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(line("/a", "miss", "", "page"))
	f.Add(`{"ts":1e300,"request":{"method":"GET","host":"a","uri":"/%zz"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parse([]byte(text))
		if err != nil {
			return
		}
		r, err := l.Ask()
		if err == nil && (r.Method == "" || r.Host == "" || l.At().IsZero()) {
			t.Errorf("%q became %+v", text, r)
		}
	})
}
