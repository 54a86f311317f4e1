package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/unit"
)

// StopConfig says how the process takes leave when it is told to stop, before
// Caddy closes its listeners and waits for what is left.
type StopConfig struct {
	// Announce is how long requests are served as before while readyz answers
	// 503 and replies ask the client to take another connection, so that whoever
	// sends requests here sends them elsewhere. Default 5s.
	Announce unit.Duration `json:"announce,omitzero"`
	// Window is the time after that over which WebSockets and event streams are
	// ended, one after the other. It is over as soon as there are none. Default
	// 20s.
	Window unit.Duration `json:"window,omitzero"`
}

func (s StopConfig) withDefaults() StopConfig {
	s.Announce = unit.Duration(s.Announce.Or(5 * time.Second))
	s.Window = unit.Duration(s.Window.Or(20 * time.Second))
	return s
}

func (s *StopConfig) check() error {
	var errs []error
	for _, d := range []struct {
		word string
		time unit.Duration
	}{{"announce", s.Announce}, {"window", s.Window}} {
		if d.time < 0 {
			errs = append(errs, fmt.Errorf("stop %s %q: want more than zero, such as 10s", d.word, d.time))
		}
	}
	return errors.Join(errs...)
}

func stopWords(s *StopConfig) words {
	return words{"announce": duration(&s.Announce), "window": duration(&s.Window)}
}

// leaving is set once the process has been told to stop: it serves, and sends
// its clients elsewhere.
var leaving atomic.Bool

// interrupts hears of Ctrl-C in a process that runs a gateway. Somebody sits
// there and waits.
var interrupts = make(chan os.Signal, 1)

// hearInterrupts listens from the start if the command is one that runs a
// gateway: Caddy says that the process exits, not why.
func hearInterrupts(args []string) {
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		if arg == "run" {
			signal.Notify(interrupts, os.Interrupt)
		}
		return
	}
}

// farewell is told before the apps of a configuration are stopped. Caddy waits
// for it.
type farewell struct{ app *App }

// Handle takes leave if the process is to end. On SIGTERM there is time; a
// second signal, or Ctrl-C in the first place, ends at once what would be spread.
func (f farewell) Handle(ctx context.Context, _ caddy.Event) error {
	if !caddy.Exiting() {
		return nil // another configuration has taken over
	}
	// The signal that brought us here has been handed to all who listened by the
	// time that this listens too: os/signal holds its lock while it hands it out.
	hurry, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	select {
	case <-interrupts:
		stop()
	default:
	}
	f.app.takeLeave(hurry)
	return nil
}

// takeLeave announces that the gateway goes, and parts the connections that
// would last. Once hurry is done nothing is waited for but the last answers.
func (a *App) takeLeave(hurry context.Context) {
	began := time.Now()
	stop := a.Leave.withDefaults()
	leaving.Store(true)
	sendRawHitsTheLongWay()
	a.logger.Info("leaving", zap.Duration("announce", stop.Announce.D()), zap.Duration("window", stop.Window.D()), zap.Bool("hurry", hurry.Err() != nil))
	announced := time.NewTimer(stop.Announce.D())
	defer announced.Stop()
	select {
	case <-announced.C:
	case <-hurry.Done():
	}
	var parting sync.WaitGroup
	var parted atomic.Int64
	for _, p := range a.pools {
		parting.Go(func() { parted.Add(int64(p.Part(hurry, stop.Window.D()))) })
	}
	parting.Wait()
	replaced.awaitEnd(hurry)
	if handedOver() {
		succeeding.Load().awaitMoved(hurry)
	}
	lastCall(hurry)
	a.logger.Info("left", zap.Int64("parted", parted.Load()), zap.Duration("took", time.Since(began)))
}

// dismiss asks the client to take another connection next time: over HTTP/1 by
// the field, over HTTP/2 net/http makes a GOAWAY of it. A request for another
// protocol has a use for the connection, and HTTP/3 has no such field.
func dismiss(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 3 && r.Header["Upgrade"] == nil && r.Method != http.MethodConnect {
		w.Header()["Connection"] = dismissal
	}
}

var dismissal = []string{"close"}
