// Package sample is a small customer register, real enough to put a gateway in
// front of: HTML pages that name fingerprinted scripts and styles, a JSON API,
// a login by cookie, a stream of server-sent events, a WebSocket, a health
// check. Its version is built into what it serves, so that a visitor can tell
// an old page from a new one. Contacts live in the process: each replica has
// its own, as an application in front of an empty database would.
//
// A replica has the assets of its own version only and answers 404 for others,
// unless Config.AssetsDir names a directory that replicas share.
package sample

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"time"
)

// SessionKeyEnv is the environment variable that holds the session key when
// Config has none: an argument would show in the list of processes.
const SessionKeyEnv = "EDGE_SAMPLE_SESSION_KEY"

// Config is one replica of the sample application. The zero value serves v1 on
// a free port of the loopback interface.
type Config struct {
	// Listen is the address to serve on. Default 127.0.0.1:0, a free port.
	Listen string
	// Version is what the replica says it runs, built into every page and
	// asset: 1 to 64 letters, digits, dots, underscores and hyphens, a letter
	// or digit first. Default v1.
	Version string
	// Instance tells replicas of one version apart; the shape of Version.
	// Default sample-<process id>.
	Instance string
	// StartDelay is how long after its start the replica still calls itself
	// unhealthy, as one that warms up does. Default 0.
	StartDelay time.Duration
	// Linger is how long the replica goes on serving, unhealthy, after it was
	// told to stop, so that balancers notice. Default 0.
	Linger time.Duration
	// Grace bounds how long requests in flight may take to finish once the
	// replica closes. Default 10s.
	Grace time.Duration
	// AssetsDir is a directory that replicas of all versions share. A replica
	// puts its assets there before it is healthy, and serves from there those
	// that it does not have itself: an old page finds its assets at a new
	// replica, and a new page at an old one, as where a build uploads to a
	// bucket before it rolls out. Default none: its own assets only.
	AssetsDir string
	// SessionKey signs session cookies. Replicas that share it know each
	// other's visitors. Default the value of EDGE_SAMPLE_SESSION_KEY, or a
	// random one.
	SessionKey string
	// Out takes one line when the replica listens: its address. Default none.
	Out io.Writer
}

var label = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (c Config) withDefaults() Config {
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:0")
	c.Version = cmp.Or(c.Version, "v1")
	c.Instance = cmp.Or(c.Instance, "sample-"+strconv.Itoa(os.Getpid()))
	c.Grace = cmp.Or(c.Grace, 10*time.Second)
	c.SessionKey = cmp.Or(c.SessionKey, os.Getenv(SessionKeyEnv), rand.Text())
	if c.Out == nil {
		c.Out = io.Discard
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	for _, field := range []struct{ name, value string }{{"version", c.Version}, {"instance", c.Instance}} {
		if !label.MatchString(field.value) {
			errs = append(errs, fmt.Errorf("%s %q: want 1 to 64 of letters, digits, dots, underscores and hyphens, a letter or digit first", field.name, field.value))
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen %q: want host:port such as 127.0.0.1:0", c.Listen))
	}
	for _, field := range []struct {
		name  string
		value time.Duration
	}{{"start delay", c.StartDelay}, {"linger", c.Linger}, {"grace", c.Grace}} {
		if field.value < 0 {
			errs = append(errs, fmt.Errorf("%s %s: want 0 or more", field.name, field.value))
		}
	}
	return errors.Join(errs...)
}

// Handler is a replica without a listener. Its streams and sockets end only
// with their clients.
func Handler(c Config) (http.Handler, error) {
	return newApp(c.withDefaults())
}

// Run serves until ctx is done, then finishes what is in flight: health turns
// bad, Linger passes, streams and sockets are told to go, and requests get
// Grace to end. It returns nil when all of them did.
func Run(ctx context.Context, c Config) error {
	c = c.withDefaults()
	a, err := newApp(c)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 10 * time.Second,
		// Longer than a gateway keeps idle connections, so that it is the
		// gateway that closes them and no request meets a closed one.
		IdleTimeout: 5 * time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if _, err := fmt.Fprintln(c.Out, listener.Addr()); err != nil {
		return errors.Join(fmt.Errorf("say the address: %w", err), server.Close())
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	return a.stop(server, c.Linger, c.Grace)
}

// stop ends a served application in good order.
func (a *app) stop(server *http.Server, linger, grace time.Duration) error {
	a.leaving.Store(true)
	if linger > 0 {
		<-time.After(linger)
	}
	a.endStreams()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests still open after %s: %w", grace, err), server.Close())
	}
	// Shutdown does not know of sockets: their connections were taken over.
	gone := make(chan struct{})
	go func() { a.sockets.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sockets still open after %s: %w", grace, ctx.Err())
	}
}
