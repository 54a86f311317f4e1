package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// DefaultServer is the control API at Caddy's admin endpoint on this machine.
const DefaultServer = "http://localhost:2019/edge"

// Environment variables that stand in for flags.
const (
	ServerEnv = "EDGE_SERVER"
	TokenEnv  = "EDGE_TOKEN"
)

// Connection says which gateway to talk to. The zero value is the admin
// endpoint of this machine.
type Connection struct {
	// Server is where the control API is mounted: an http or https URL such as
	// https://www.example.com/.edge, or unix//run/edge/admin.sock for an admin
	// endpoint on a socket. Default: EDGE_SERVER, then DefaultServer.
	Server string
	// TokenFile holds the bearer token; white space around it is dropped.
	// Default: the token in EDGE_TOKEN, then none, which is enough for the
	// admin endpoint. There is no token on the command line, where every
	// user of the machine could read it.
	TokenFile string
	// Getenv reads the environment. Default: os.Getenv.
	Getenv func(string) string
	// Transport carries the calls. Default: one of its own.
	Transport http.RoundTripper
}

// Client calls one gateway's control API. It follows redirects only within the
// same scheme, host and port: elsewhere they would carry the token away.
type Client struct {
	// Server is the URL below which the routes are, without a slash at the end.
	Server string
	// Token may be empty.
	Token string
	// HTTP does the calls.
	HTTP *http.Client

	// assumed: nobody has named a gateway, so that Server is DefaultServer.
	assumed bool
}

// NewClient finds the gateway and the token. Its error joins every mistake, and
// never shows the token.
func NewClient(c Connection) (*Client, error) {
	getenv := c.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	server, place := c.Server, "server"
	if server == "" {
		server, place = getenv(ServerEnv), ServerEnv
	}
	assumed := server == ""
	if assumed {
		server = DefaultServer
	}
	base, socket, serverErr := parseServer(place, server)
	token, tokenErr := readToken(c.TokenFile, getenv)
	if err := errors.Join(serverErr, tokenErr); err != nil {
		return nil, err
	}
	transport := c.Transport
	if transport == nil {
		transport = newTransport(socket)
	}
	return &Client{Server: base, Token: token, HTTP: &http.Client{Transport: transport, CheckRedirect: checkRedirect}, assumed: assumed}, nil
}

// parseServer gives the base URL, and the socket's path if it is one.
func parseServer(place, server string) (base, socket string, err error) {
	if path, ok := strings.CutPrefix(server, "unix/"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", "", fmt.Errorf("%s %q: want unix/ and an absolute path, such as unix//run/edge/admin.sock", place, server)
		}
		// Caddy's admin endpoint on a socket lets this host name in.
		return "http://127.0.0.1/edge", path, nil
	}
	const want = "want where the control API is mounted, such as https://www.example.com/.edge or " + DefaultServer
	u, err := url.Parse(server)
	if err != nil {
		return "", "", fmt.Errorf("%s %q: %s", place, server, want)
	}
	switch {
	case u.User != nil:
		return "", "", fmt.Errorf("%s: user and password in the URL: %s", place, want)
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return "", "", fmt.Errorf("%s %q: %s", place, server, want)
	}
	return strings.TrimRight(u.String(), "/"), "", nil
}

func readToken(file string, getenv func(string) string) (string, error) {
	text, place := getenv(TokenEnv), TokenEnv
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("token file: %w", err)
		}
		text, place = string(data), fmt.Sprintf("token file %q", file)
	}
	token := strings.TrimSpace(text)
	if file != "" && token == "" {
		return "", fmt.Errorf("%s is empty: want the control token", place)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: want one token, printable ASCII without spaces", place)
	}
	return token, nil
}

func newTransport(socket string) http.RoundTripper {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout:     30 * time.Second,
		ForceAttemptHTTP2:   true,
	}
	if socket != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return transport
}

// errRedirect is a redirect that is not followed.
var errRedirect = errors.New("redirect refused")

func checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host:
		return fmt.Errorf("%w: it leads to %s://%s, where the token does not belong: want --server to name the place itself",
			errRedirect, next.URL.Scheme, next.URL.Host)
	case next.Method != first.Method:
		return fmt.Errorf("%w: it turns %s into %s: want --server to name the place itself", errRedirect, first.Method, next.Method)
	case len(via) >= 5:
		return fmt.Errorf("%w: five in a row", errRedirect)
	}
	return nil
}

// exposesToken reports whether the token travels where others may read it.
func (c *Client) exposesToken() bool {
	u, err := url.Parse(c.Server)
	if err != nil || c.Token == "" || u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	return err != nil || !address.IsLoopback()
}
