package cli

import (
	"bytes"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edgegw/edge/internal/control"
)

func TestWhichGatewayAndWhichToken(t *testing.T) {
	tokenFile := file(t, "  "+token+"\n")
	cases := map[string]struct {
		config      Connection
		environ     map[string]string
		server, tok string
	}{
		"nothing said":                  {Connection{}, nil, "http://localhost:2019/edge", ""},
		"by the environment":            {Connection{}, map[string]string{ServerEnv: "https://a.example/.edge", TokenEnv: "t"}, "https://a.example/.edge", "t"},
		"flags win":                     {Connection{Server: "https://b.example/.edge/", TokenFile: tokenFile}, map[string]string{ServerEnv: "https://a.example", TokenEnv: "t"}, "https://b.example/.edge", token},
		"a site's root":                 {Connection{Server: "http://[::1]:8080/"}, nil, "http://[::1]:8080", ""},
		"an admin endpoint on a socket": {Connection{Server: "unix//run/edge.sock"}, nil, "http://127.0.0.1/edge", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.config.Getenv = environment(tc.environ)
			client, err := NewClient(tc.config)
			if err != nil {
				t.Fatal(err)
			}
			if client.Server != tc.server || client.Token != tc.tok {
				t.Errorf("%q, token %q: want %q, %q", client.Server, client.Token, tc.server, tc.tok)
			}
		})
	}
}

func TestConnectionsThatAreRefused(t *testing.T) {
	const secret = "sEcReT0123"
	cases := map[string]struct {
		config  Connection
		environ map[string]string
		says    string
	}{
		"no scheme":                   {Connection{Server: "edge.example/.edge"}, nil, `server "edge.example/.edge"`},
		"another scheme":              {Connection{Server: "ftp://edge.example"}, nil, "ftp"},
		"no host":                     {Connection{Server: "https:///x"}, nil, "https:///x"},
		"a query":                     {Connection{Server: "https://a.example/?token=x"}, nil, "mounted"},
		"unreadable":                  {Connection{Server: "http://a b/"}, nil, "mounted"},
		"a password":                  {Connection{Server: "https://u:" + secret + "@a.example/"}, nil, "user and password"},
		"a relative socket":           {Connection{Server: "unix/edge.sock"}, nil, "absolute path"},
		"wrong in the environment":    {Connection{}, map[string]string{ServerEnv: "edge"}, `EDGE_SERVER "edge"`},
		"token file that is empty":    {Connection{TokenFile: file(t, " \n")}, nil, "is empty"},
		"token file that is missing":  {Connection{TokenFile: filepath.Join(t.TempDir(), "none")}, nil, "no such file"},
		"token file of two lines":     {Connection{TokenFile: file(t, secret+"\n"+secret)}, nil, "want one token"},
		"token with a line end in it": {Connection{}, map[string]string{TokenEnv: secret + "\r\nX: y"}, "EDGE_TOKEN: want one token"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.config.Getenv = environment(tc.environ)
			_, err := NewClient(tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v: want %q in it", err, tc.says)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the error shows the secret")
			}
		})
	}
}

// closed is a port on which nobody listens, whatever it is called.
type closed struct{}

func (closed) RoundTrip(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED }

func TestWhoNamedNoGatewayIsToldHow(t *testing.T) {
	cases := map[string]struct {
		server  string
		environ map[string]string
		told    bool
	}{
		"nothing said":       {"", nil, true},
		"by the flag":        {DefaultServer, nil, false},
		"by the environment": {"", map[string]string{ServerEnv: "http://localhost:2020/edge"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			c := StatusConfig{Connection: Connection{Server: tc.server, Getenv: environment(tc.environ), Transport: closed{}}}
			if code := Status(t.Context(), c, &stdout, &stderr); code != ExitUnreachable {
				t.Errorf("exit %d, want %d", code, ExitUnreachable)
			}
			if said := stderr.String(); strings.Contains(said, "want that in EDGE_SERVER or --server") != tc.told {
				t.Errorf("%q: told how to name one: want %v", said, tc.told)
			}
		})
	}
}

func TestATokenInTheOpenIsWarnedOf(t *testing.T) {
	for server, exposed := range map[string]bool{
		"http://edge.internal:2019/edge": true,
		"http://192.0.2.1/edge":          true,
		"https://a.example/.edge":        false,
		"http://localhost:2019/edge":     false,
		"http://127.0.0.1:2019/edge":     false,
		"http://[::1]:2019/edge":         false,
	} {
		if got := (&Client{Server: server, Token: token}).exposesToken(); got != exposed {
			t.Errorf("%s: exposed %v, want %v", server, got, exposed)
		}
		if (&Client{Server: server}).exposesToken() {
			t.Errorf("%s: without a token nothing is exposed", server)
		}
	}
}

func TestTheAdminEndpointOnASocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway()
	g.status = control.Status{Version: "1.2.3"}
	server := &http.Server{Handler: http.StripPrefix("/edge", control.New(control.Config{Gateway: g, Trusted: true}))}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	}()
	var stdout, stderr bytes.Buffer
	c := StatusConfig{Connection: Connection{Server: "unix/" + socket, Getenv: environment(nil)}}
	if code := Status(t.Context(), c, &stdout, &stderr); code != ExitDone || !strings.Contains(stdout.String(), "edge 1.2.3") {
		t.Errorf("exit %d: %s%s", code, &stdout, &stderr)
	}
}
