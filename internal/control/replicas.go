package control

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

const (
	// maxRegistration bounds the body of POST replicas.
	maxRegistration = 4 << 10
	// defaultLease holds over two missed renewals of one each ten seconds.
	defaultLease = 30 * time.Second
	// minLease and maxLease: shorter ones flap, longer ones outlive a
	// replica that died without a word.
	minLease = time.Second
	maxLease = 24 * time.Hour
)

// Registration is the body of POST replicas.
type Registration struct {
	// Pool names a pool of the configuration.
	Pool string `json:"pool"`
	// Address is the replica's host:port as this node reaches it.
	Address string `json:"address"`
	// Lease is how long the replica stays without another POST, as a
	// duration: 1s to 24h. Default: 30s.
	Lease string `json:"lease,omitempty"`
}

func (c *call) register() error {
	var request Registration
	if err := c.readBody(maxRegistration, &request); err != nil {
		return err
	}
	var mistakes []Mistake
	if request.Pool == "" {
		mistakes = append(mistakes, Mistake{"pool", "", "the name of a pool"})
	}
	if !dialable(request.Address) {
		mistakes = append(mistakes, Mistake{"address", shorten(request.Address), "host:port such as 10.0.0.7:3000"})
	}
	lease := defaultLease
	if request.Lease != "" {
		given, err := unit.ParseDuration(request.Lease)
		if lease = given.D(); err != nil || lease < minLease || lease > maxLease {
			mistakes = append(mistakes, Mistake{"lease", shorten(request.Lease), "a duration from 1s to 24h, such as 30s"})
		}
	}
	if len(mistakes) > 0 {
		return invalid(http.StatusUnprocessableEntity, mistakes...)
	}
	id, err := c.gateway.Register(request.Pool, request.Address, lease)
	if err != nil {
		return err
	}
	c.report(Event{Kind: Registered, ID: id, Detail: request.Pool + " " + request.Address})
	return c.answer(http.StatusOK, map[string]any{"id": id, "lease": unit.Duration(lease)})
}

// dialable reports whether the address has a host and a port from 1 to 65535.
func dialable(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '@' }) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func (c *call) deregister() error {
	if err := c.gateway.Deregister(c.id); err != nil {
		return err
	}
	c.report(Event{Kind: Deregistered, ID: c.id})
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
