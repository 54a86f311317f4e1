package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/report/standin"
)

// startTracker is a stand-in, and what speaks with it.
func startTracker(t *testing.T) (*standin.Server, Config) {
	t.Helper()
	s := standin.New("a1b2c3d4e5f60718293a4b5c6d7e8f90", "42")
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return s, Config{DSN: s.DSN(server.URL), Release: "edge@1.2.3", Environment: "test"}
}

func TestBothSidesCountTheSame(t *testing.T) {
	s, config := startTracker(t)
	fates := make(chan Event, 1000)
	r, err := New(config, func(e Event) { fates <- e })
	if err != nil {
		t.Fatal(err)
	}
	s.Fail(standin.Cut, 1)
	const likes, each = 20, 10
	for range each {
		for like := range likes {
			r.Report(Trouble{Kind: Answer, Title: "answered 502", Like: []string{fmt.Sprint(like)}, Text: "no answer"})
		}
	}
	counts := make(map[Outcome]int)
	for range likes * each {
		select {
		case e := <-fates:
			counts[e.Outcome]++
		case <-time.After(time.Minute):
			t.Fatalf("after %v: no more fates within a minute", counts)
		}
	}
	r.Close()
	if refusals := s.Refusals(); len(refusals) > 0 {
		t.Errorf("the tracker refused: %q", refusals)
	}
	if got := len(s.Events()); got != counts[Captured] || got < likes || counts[Captured]+counts[Flood]+counts[Full] != likes*each {
		t.Errorf("the tracker has %d events, here they are %v", got, counts)
	}
}

func TestEveryFailureOfATrackerHasItsOutcome(t *testing.T) {
	s, config := startTracker(t)
	send := func(c Config, ctx context.Context, trouble Trouble) (Outcome, error) {
		tracker, err := newTracker(c)
		if err != nil {
			t.Fatal(err)
		}
		defer tracker.close()
		return tracker.send(ctx, &trouble, time.Now(), 0)
	}
	plain := Trouble{Kind: Fault, Title: "x", Text: "y"}
	for fault, want := range map[standin.Fault]Outcome{
		standin.None: Captured, standin.Limit: Limited, standin.Broken: Unreachable, standin.Cut: Unreachable, standin.Garbage: Refused,
	} {
		s.Fail(fault, -1)
		if got, err := send(config, t.Context(), plain); got != want || (err == nil) != (want == Captured) {
			t.Errorf("fault %q: got %s, %v: want %s", fault, got, err, want)
		}
	}
	s.Fail(standin.Hang, -1)
	ctx, cancel := context.WithCancel(t.Context())
	hung := s.Calls() + 1
	go func() {
		for s.Calls() < hung {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
		cancel()
	}()
	if got, err := send(config, ctx, plain); got != Unreachable || !errors.Is(err, context.Canceled) {
		t.Errorf("given up: got %s, %v", got, err)
	}
	cancel()
	s.Fail(standin.None, 0)
	wrong := config
	wrong.DSN = strings.Replace(wrong.DSN, "a1b2", "ffff", 1)
	if got, _ := send(wrong, t.Context(), plain); got != Refused {
		t.Errorf("a wrong key: got %s: want refused", got)
	}
	wrong.DSN = strings.TrimSuffix(config.DSN, "42") + "43"
	if got, _ := send(wrong, t.Context(), plain); got != Refused {
		t.Errorf("another project: got %s: want refused", got)
	}
	large := plain
	large.Text = strings.Repeat("x", 2<<20) // not cleaned, so not clipped
	if got, err := send(config, t.Context(), large); got != Refused || !strings.Contains(err.Error(), "413") {
		t.Errorf("an event of 2 MiB: got %s, %v: want refused with 413", got, err)
	}
}

func TestATrackerThatAsksForAPauseIsLeftAlone(t *testing.T) {
	s, config := startTracker(t)
	tracker, err := newTracker(config)
	if err != nil {
		t.Fatal(err)
	}
	defer tracker.close()
	s.Fail(standin.Limit, 1)
	trouble := Trouble{Kind: Fault, Title: "x"}
	for range 2 {
		if got, _ := tracker.send(t.Context(), &trouble, time.Now(), 0); got != Limited {
			t.Fatalf("got %s: want limited", got)
		}
	}
	// The second attempt may have come after the pause of a second, on a slow machine.
	if s.Calls() == 2 && len(s.Events()) == 0 {
		t.Error("it was called again during the pause")
	}
}

func TestAPanicsReportTellsWhereAndHoldsNoSecret(t *testing.T) {
	s, config := startTracker(t)
	fates := make(chan Event, 1)
	r, err := New(config, func(e Event) { fates <- e })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	func() {
		defer func() {
			p, stack := recover(), Here()
			r.Report(Trouble{
				Kind: Panic, Title: "panic", Like: []string{Site(stack, "func1")}, Text: fmt.Sprint(p), Stack: stack,
				Method: "GET", Host: "crm.example.com", Path: "/contacts?name=Sup3rS3cr3t",
				Facts: map[string]string{"pool": "app", "replica": "9323bba3c9a7", "nothing": ""},
			})
		}()
		explode()
	}()
	select {
	case e := <-fates:
		if e.Outcome != Captured {
			t.Fatalf("%+v, %q", e, s.Refusals())
		}
	case <-time.After(time.Minute):
		t.Fatal("no fate within a minute")
	}
	event := s.Events()[0]
	if bytes.Contains(event.Raw, []byte("Sup3rS3cr3t")) {
		t.Errorf("a secret is left: %s", event.Raw)
	}
	for _, want := range []string{"explode", `"url":"crm.example.com/contacts"`, `"pool":"app"`, `"replica":"9323bba3c9a7"`, `"release":"edge@1.2.3"`, `"environment":"test"`, `"level":"fatal"`} {
		if !bytes.Contains(event.Raw, []byte(want)) {
			t.Errorf("%s is not in %s", want, event.Raw)
		}
	}
	if strings.Contains(string(event.Raw), `"nothing"`) || strings.Contains(string(event.Raw), `"modules"`) {
		t.Errorf("what is empty, or about this machine, is in %s", event.Raw)
	}
}

func explode() { panic("cookie: Sup3rS3cr3t") }

func TestMistakesInAConfigurationAreAllTold(t *testing.T) {
	err := Config{DSN: "https://sentry.example.com/1", Environment: "a b", Release: "a/b"}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"sentry dsn", `"a b"`, `"a/b"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s in it", err, want)
		}
	}
}
