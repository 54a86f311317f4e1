package control

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/purge"
)

func TestAnOrderIsHandedOnWhole(t *testing.T) {
	g, seen := newFakeGateway(), new(events)
	h := New(Config{Gateway: g, Tokens: []string{rightToken}, Event: seen.add})
	body := `{"urls":["https://a.example/x"],"tags":["t"],"soft":true,"expect":"v2","verify":["https://a.example/"],
		"reason":"release 7","deadline":"2026-01-02T03:04:05Z"}`
	response := ask(h, "POST", "/purge", body, "Authorization", "Bearer "+rightToken, "Idempotency-Key", `"ci-7"`)
	if got := response.Header.Get("Location"); got != "purge/order%201" {
		t.Errorf("Location %q: want purge/order%%201", got)
	}
	if record := decode[purge.Record](t, response, 202); record.ID != "order 1" || record.State != purge.Accepted {
		t.Errorf("record: %+v", record)
	}
	want := purge.Order{
		IdempotencyKey: "ci-7",
		Selectors:      purge.Selectors{URLs: []string{"https://a.example/x"}, Tags: []string{"t"}},
		Soft:           true, Expect: "v2", Verify: []string{"https://a.example/"},
		Reason: "release 7", Actor: "token 1 from 192.0.2.1",
		Deadline: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	if !reflect.DeepEqual(g.orders[0], want) {
		t.Errorf("order\n%+v, want\n%+v", g.orders[0], want)
	}
	event := seen.list[0]
	if event.Kind != PurgeSubmitted || event.ID != "order 1" || event.Detail != "soft: 1 urls, 1 tags: release 7" || event.Route != "POST purge" {
		t.Errorf("event: %+v", event)
	}
}

func TestADryRunHasNothingToComeBackFor(t *testing.T) {
	response := ask(trusted(newFakeGateway()), "POST", "/purge", `{"everything":true,"dry_run":true}`)
	if got := response.Header.Get("Location"); got != "" {
		t.Errorf("Location %q: want none", got)
	}
	if record := decode[purge.Record](t, response, 200); record.State != purge.Planned {
		t.Errorf("state %q: want planned", record.State)
	}
}

func TestOrdersThatAreRefused(t *testing.T) {
	tooMany, err := json.Marshal(map[string][]string{"tags": strings.Split(strings.Repeat("t,", purge.MaxItems)+"t", ",")})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		body   string
		fields []string
		status int
		code   string
		want   []Mistake
	}{
		"no selector":             {body: `{"soft":true}`, status: 422, code: CodeNoSelector},
		"empty lists":             {body: `{"urls":[],"tags":[]}`, status: 422, code: CodeNoSelector},
		"everything: false":       {body: `{"everything":false}`, status: 422, code: CodeNoSelector},
		"null":                    {body: `null`, status: 422, code: CodeNoSelector},
		"misspelt field":          {body: `{"tagz":["a"]}`, status: 400, code: CodeInvalid, want: []Mistake{{"body", "tagz", "a field that is known here"}}},
		"field of the gateway":    {body: `{"tags":["a"],"actor":"root"}`, status: 400, code: CodeInvalid, want: []Mistake{{"body", "actor", "a field that is known here"}}},
		"text for a list":         {body: `{"tags":"a"}`, status: 400, code: CodeInvalid, want: []Mistake{{"tags", "string", "a JSON list of strings"}}},
		"text for true":           {body: `{"everything":"yes"}`, status: 400, code: CodeInvalid, want: []Mistake{{"everything", "string", "a JSON true or false"}}},
		"a list for the object":   {body: `["a"]`, status: 400, code: CodeInvalid, want: []Mistake{{"body", "array", "a JSON object"}}},
		"everything and a tag":    {body: `{"everything":true,"tags":["a"]}`, status: 422, code: CodeInvalid, want: []Mistake{{"everything", "true", "everything alone, or the other selectors without it"}}},
		"not JSON":                {body: `tags=a`, status: 400, code: CodeBody},
		"cut short":               {body: `{"tags":["a"]`, status: 400, code: CodeBody},
		"two objects":             {body: `{"tags":["a"]} {"tags":["b"]}`, status: 400, code: CodeBody},
		"too large":               {body: `{"reason":"` + strings.Repeat("x", MaxBody) + `"}`, status: 413, code: CodeBody},
		"too large after the end": {body: `{"tags":["a"]}` + strings.Repeat(" ", MaxBody), status: 413, code: CodeBody},
		"too many items":          {body: string(tooMany), status: 422, code: CodeInvalid, want: []Mistake{{"selectors", "10001", "at most 10000 in one order"}}},
		"sent as a form":          {body: `{"tags":["a"]}`, fields: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, code: CodeBody},
		"sent as text":            {body: `{"tags":["a"]}`, fields: []string{"Content-Type", "text/plain"}, status: 415, code: CodeBody},
		"keys that differ": {body: `{"tags":["a"],"idempotency_key":"k1"}`, fields: []string{"Idempotency-Key", "k2"}, status: 422, code: CodeInvalid,
			want: []Mistake{{"idempotency_key", "k1", `the same as the field Idempotency-Key, "k2"`}}},
		"key with a space": {body: `{"tags":["a"]}`, fields: []string{"Idempotency-Key", "k 2"}, status: 422, code: CodeInvalid,
			want: []Mistake{{"idempotency_key", "k 2", "at most 255 characters of printable ASCII without spaces"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g := newFakeGateway()
			p := decode[Problem](t, ask(trusted(g), "POST", "/purge", tc.body, tc.fields...), tc.status)
			if p.Code != tc.code || p.Detail == "" {
				t.Errorf("problem %+v: want code %s and a detail", p, tc.code)
			}
			if tc.want != nil && !reflect.DeepEqual(p.Mistakes, tc.want) {
				t.Errorf("mistakes %+v: want %+v", p.Mistakes, tc.want)
			}
			if len(g.orders) != 0 {
				t.Errorf("%d orders reached the gateway: want none", len(g.orders))
			}
		})
	}
}

func TestEveryMistakeOfAnOrderIsNamed(t *testing.T) {
	body := `{"urls":["/relative"],"tags":["a b"],"hosts":["https://x"]}`
	p := decode[Problem](t, ask(trusted(newFakeGateway()), "POST", "/purge", body), 422)
	var fields []string
	for _, m := range p.Mistakes {
		fields = append(fields, m.Field+" "+m.Value)
	}
	if got := strings.Join(fields, ", "); got != "urls /relative, tags a b, hosts https://x" {
		t.Errorf("mistakes: %s", got)
	}
}

func TestConflictsAndUnknownOrders(t *testing.T) {
	g := newFakeGateway()
	h := trusted(g)
	g.submitErr = purge.ErrConflict
	if p := decode[Problem](t, ask(h, "POST", "/purge", `{"tags":["a"]}`), 409); p.Code != CodeConflict {
		t.Errorf("code %q: want conflict", p.Code)
	}
	g.submitErr = nil
	decode[purge.Record](t, ask(h, "POST", "/purge", `{"tags":["a"]}`), 202)
	for _, request := range [][2]string{{"GET", "/purge/other"}, {"GET", "/purge/other?wait=1m"}, {"POST", "/purge/other/cancel"}} {
		if p := decode[Problem](t, ask(h, request[0], request[1], ""), 404); p.Code != CodeUnknown {
			t.Errorf("%v: code %q, want unknown", request, p.Code)
		}
	}
	if record := decode[purge.Record](t, ask(h, "POST", "/purge/order%201/cancel", ""), 200); record.State != purge.Canceled {
		t.Errorf("state %q: want canceled", record.State)
	}
	if p := decode[Problem](t, ask(h, "POST", "/purge/order%201/cancel", ""), 409); p.Code != CodeFinished {
		t.Errorf("code %q: want finished", p.Code)
	}
}

func TestOrdersAreListedNewestFirst(t *testing.T) {
	type list struct {
		Purges []purge.Record `json:"purges"`
	}
	h := trusted(newFakeGateway())
	if got := decode[list](t, ask(h, "GET", "/purge", ""), 200); got.Purges == nil {
		t.Error("no orders: want an empty list, not null")
	}
	for range 25 {
		decode[purge.Record](t, ask(h, "POST", "/purge", `{"tags":["a"]}`), 202)
	}
	if got := decode[list](t, ask(h, "GET", "/purge", ""), 200); len(got.Purges) != 20 || got.Purges[0].ID != "order 25" {
		t.Errorf("%d orders, first %q: want 20, order 25", len(got.Purges), got.Purges[0].ID)
	}
	if got := decode[list](t, ask(h, "GET", "/purge?limit=3", ""), 200); len(got.Purges) != 3 {
		t.Errorf("%d orders: want 3", len(got.Purges))
	}
}

func TestWaitingForAnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGateway()
		h := trusted(g)
		decode[purge.Record](t, ask(h, "POST", "/purge", `{"tags":["a"]}`), 202)
		wait := func(want purge.State, took time.Duration) {
			t.Helper()
			began := time.Now()
			record := decode[purge.Record](t, ask(h, "GET", "/purge/order%201?wait=2m", ""), 200)
			if record.State != want || time.Since(began) != took {
				t.Errorf("%s after %v: want %s after %v", record.State, time.Since(began), want, took)
			}
		}
		wait(purge.Accepted, MaxWait)
		time.AfterFunc(time.Second, func() { close(g.finished) })
		wait(purge.Done, time.Second)
		// A finished one is answered without waiting.
		decode[purge.Record](t, ask(h, "POST", "/purge/order%201/cancel", ""), 200)
		g.finished = make(chan struct{})
		wait(purge.Canceled, 0)
	})
}

// pipes is a listener within a synctest bubble: clients dial it.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.accept <- server
	return client, nil
}

func TestAServersTimeoutsDoNotCutAWaitShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGateway()
		h := trusted(g)
		decode[purge.Record](t, ask(h, "POST", "/purge", `{"tags":["a"]}`), 202)
		listener := newPipes()
		// Caddy's admin endpoint reads for ten seconds at most.
		server := &http.Server{Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		client := &http.Client{Transport: &http.Transport{DialContext: listener.dial}}

		began := time.Now()
		response, err := client.Get("http://edge/purge/order%201?wait=90s")
		if err != nil {
			t.Fatal(err)
		}
		decode[purge.Record](t, response, 200)
		if took := time.Since(began); took != 90*time.Second {
			t.Errorf("answered after %v: want 90s", took)
		}
		client.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
}

func FuzzNoBodyPurgesWithoutASelector(f *testing.F) {
	for _, body := range []string{`{}`, `null`, `{"tags":["a"]}`, `{"everything":true}`, `{"urls":[""]}`, `{"TAGS":["a"]}`, `[`, `{"tags":["a"]}x`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		g := newFakeGateway()
		r := httptest.NewRequest("POST", "/purge", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		trusted(g).ServeHTTP(w, r)
		text, err := io.ReadAll(w.Body)
		if err != nil || !json.Valid(text) {
			t.Fatalf("answer %q: want JSON", text)
		}
		accepted := w.Code == 200 || w.Code == 202
		if accepted != (len(g.orders) == 1) {
			t.Fatalf("status %d with %d orders", w.Code, len(g.orders))
		}
		if accepted && g.orders[0].Len() == 0 {
			t.Fatalf("%q was taken as an order for nothing", body)
		}
		if accepted && g.orders[0].Everything && !strings.Contains(strings.ToLower(string(body)), "everything") && !bytes.Contains(body, []byte(`\u`)) {
			t.Fatalf("%q was taken as an order for everything", body)
		}
	})
}
