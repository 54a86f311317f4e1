package lb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/reason"
)

const (
	// kubernetesTimeout is for a list, and for a watch to begin.
	kubernetesTimeout = 10 * time.Second

	// mostSlices bounds a list: a slice of 100 endpoints has some 60 KiB.
	mostSlices = 32 << 20

	// mostEvent bounds one event of a watch. etcd takes objects of 1.5 MiB.
	mostEvent = 4 << 20

	// mostToken bounds a token file.
	mostToken = 64 << 10
)

// kubernetesClient asks an API server for EndpointSlices.
type kubernetesClient struct {
	http      *http.Client
	transport *http.Transport
	target    *url.URL // of the slices of a namespace
	labels    string
	token     string // path, read for each request: tokens are rotated; "": none
}

// connect finds the server. What is not configured is as in every pod.
func (d kubernetes) connect() (*kubernetesClient, error) {
	server, token, ca, namespace := d.server, d.token, d.ca, d.namespace
	if server == nil {
		host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
		if host == "" || port == "" {
			return nil, errors.New("KUBERNETES_SERVICE_HOST is not set: want edge to run in a pod, or a server such as https://10.96.0.1:443")
		}
		server = &url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)}
		if token == "" {
			token = d.account + "/token"
		}
		if ca == "" {
			ca = d.account + "/ca.crt"
		}
	}
	if namespace == "" {
		own, err := d.ownNamespace()
		if err != nil {
			return nil, err
		}
		namespace = own
	}
	roots, err := readRoots(ca)
	if err != nil {
		return nil, err
	}
	// A peer that has vanished is noticed within half a minute.
	dialer := &net.Dialer{Timeout: kubernetesTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: kubernetesTimeout,
		ResponseHeaderTimeout: kubernetesTimeout,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	return &kubernetesClient{
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // The token is for this server.
		}},
		transport: transport, token: token, labels: d.labels(),
		target: server.JoinPath("apis/discovery.k8s.io/v1/namespaces", namespace, "endpointslices"),
	}, nil
}

// readRoots reads certificates; nil, the system's, without a file.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %q: holds no certificate: want PEM", file)
	}
	return roots, nil
}

func (c *kubernetesClient) close() { c.transport.CloseIdleConnections() }

// list returns the slices by name, and the version at which a watch goes on.
func (c *kubernetesClient) list(ctx context.Context) (map[string]slice, string, error) {
	ctx, cancel := context.WithTimeout(ctx, kubernetesTimeout)
	defer cancel()
	body, err := c.get(ctx, nil)
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	return readSlices(body)
}

// watch calls apply for each event after the version, until the server ends the
// watch in good order (nil) or something fails. errGone wants a new list.
func (c *kubernetesClient) watch(ctx context.Context, version string, apply func(watchEvent) error) error {
	length := watchFor + rand.N(watchFor)
	ctx, cancel := context.WithTimeout(ctx, length+kubernetesTimeout)
	defer cancel()
	body, err := c.get(ctx, url.Values{
		"watch": {"true"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {version},
		"timeoutSeconds": {strconv.Itoa(int(length.Seconds()))},
	})
	if err != nil {
		return err
	}
	defer body.Close()
	return readWatch(body, apply)
}

// get asks for the slices and returns the body of an answer that is 200.
func (c *kubernetesClient) get(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	target := *c.target
	if query == nil {
		query = make(url.Values)
	}
	query.Set("labelSelector", c.labels)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "edge")
	if c.token != "" {
		token, err := readToken(c.token)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.target.Host, reason.Of(err))
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var problem apiStatus
	_ = json.NewDecoder(io.LimitReader(resp.Body, mostToken)).Decode(&problem) // The status says enough.
	problem.Code = resp.StatusCode
	return nil, problem.error()
}

// readToken reads the token that is valid now.
func readToken(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostToken))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("token_file %q: want one token, and nothing else", file)
	}
	return token, nil
}
