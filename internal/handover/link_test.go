package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

const patience = time.Minute

// linked are two ends; the second one knows the handlers.
func linked(t *testing.T, handlers map[string]Handler) (asking, answering *Link) {
	t.Helper()
	a, b := net.Pipe()
	asking, answering = NewLink(a, nil), NewLink(b, handlers)
	t.Cleanup(func() {
		asking.Close()
		answering.Close()
	})
	return asking, answering
}

func double(_ context.Context, body json.RawMessage) (any, error) {
	var n int
	if err := json.Unmarshal(body, &n); err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, fmt.Errorf("%d is below zero", n)
	}
	return 2 * n, nil
}

func TestQuestionsAreAnsweredSideBySide(t *testing.T) {
	first := make(chan struct{})
	asking, _ := linked(t, map[string]Handler{"double": double, "wait": func(ctx context.Context, _ json.RawMessage) (any, error) {
		<-first
		return "waited", nil
	}})
	waited := make(chan error, 1)
	go func() {
		var text string
		err := asking.Ask("wait", nil, &text, patience)
		if err == nil && text != "waited" {
			err = errors.New(text)
		}
		waited <- err
	}()
	for n := range 50 {
		var got int
		if err := asking.Ask("double", n, &got, patience); err != nil || got != 2*n {
			t.Fatalf("double %d: %d, %v", n, got, err)
		}
	}
	close(first)
	if err := <-waited; err != nil {
		t.Errorf("the one that took longer: %v", err)
	}
}

func TestAQuestionThatHasNoAnswer(t *testing.T) {
	asking, answering := linked(t, map[string]Handler{"double": double, "never": func(ctx context.Context, _ json.RawMessage) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	var refused Refused
	if err := asking.Ask("double", -1, nil, patience); !errors.As(err, &refused) || err.Error() != "-1 is below zero" {
		t.Errorf("refused: %v", err)
	}
	if err := asking.Ask("other", nil, nil, patience); !errors.As(err, &refused) {
		t.Errorf("a newer version's question: %v: want it refused", err)
	}
	if err := asking.Ask("never", nil, nil, time.Millisecond); err == nil || errors.Is(err, ErrGone) || errors.As(err, &refused) {
		t.Errorf("out of patience: %v", err)
	}
	gone := make(chan error, 1)
	go func() { gone <- asking.Ask("never", nil, nil, patience) }()
	answering.Close()
	if err := <-gone; !errors.Is(err, ErrGone) {
		t.Errorf("ended meanwhile: %v: want ErrGone", err)
	}
	<-asking.Done()
	if err := asking.Ask("double", 1, nil, patience); !errors.Is(err, ErrGone) {
		t.Errorf("ended before: %v: want ErrGone", err)
	}
}
