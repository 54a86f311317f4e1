package gateway

import (
	"errors"
	"net"
	"net/http"
	"time"
)

// Application is what a gateway stands in front of, in this process.
type Application struct {
	Address string
	server  *http.Server
	served  chan error
}

// Serve listens on a port of its own. Whoever calls it closes the application.
func Serve(h http.Handler) (*Application, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &Application{
		Address: l.Addr().String(), served: make(chan error, 1),
		server: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second},
	}
	go func() { a.served <- a.server.Serve(l) }()
	return a, nil
}

// Close ends what is under way too.
func (a *Application) Close() error {
	err := a.server.Close()
	if served := <-a.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
