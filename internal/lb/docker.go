package lb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Discoveries.Register("docker", newDocker, named.Spec{Args: []string{"edge.pool=app"}})
}

const (
	dockerSocket = "/var/run/docker.sock"

	// dockerTimeout is for one answer, other than the stream of events.
	dockerTimeout = 5 * time.Second

	// dockerEvery is how often containers are listed though no event came.
	dockerEvery = 30 * time.Second

	// dockerSettle gathers events that come together, such as those of a start.
	dockerSettle = 100 * time.Millisecond

	// mostDocker bounds an answer of the engine: some 4 KiB for a container.
	mostDocker = 16 << 20
)

// docker finds replicas as the running containers with a label, by the Docker
// Engine API over its socket. A stream of events says when to list them again.
// Five requests of that API are all we need, so the engine's own client, with
// its tree of modules, is left out.
type docker struct {
	label   string
	socket  string
	network string
	port    uint16 // 0: the container's label edge.port, or the one port that it exposes
}

// newDocker reads `docker LABEL { socket PATH; network NAME; port NUMBER }`.
func newDocker(s named.Spec) (Discovery, error) {
	errs := s.Want(1, 1, "a label such as edge.pool=app", "socket", "network", "port")
	d := docker{label: argument(s, 0), socket: dockerSocket}
	if len(s.Args) == 1 && (d.label == "" || strings.HasPrefix(d.label, "=")) {
		errs = append(errs, fmt.Errorf("docker label %q: want a label such as edge.pool=app", d.label))
	}
	port := ""
	for word, to := range sorted(map[string]*string{"socket": &d.socket, "network": &d.network, "port": &port}) {
		errs = append(errs, oneWord(s, word, to))
	}
	d.socket = strings.TrimPrefix(d.socket, "unix://")
	if !path.IsAbs(d.socket) {
		errs = append(errs, fmt.Errorf("docker socket %q: want the path of a socket such as %s", d.socket, dockerSocket))
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			errs = append(errs, fmt.Errorf("docker port %q: want a number from 1 to 65535", port))
		}
		d.port = uint16(n)
	}
	return d, errors.Join(errs...)
}

func (d docker) Run(ctx context.Context, feed Feed) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dockerTimeout}).DialContext(ctx, "unix", d.socket)
	}, ResponseHeaderTimeout: dockerTimeout}
	defer transport.CloseIdleConnections()
	client := dockerClient{http: &http.Client{Transport: transport}}
	for failures := 0; ; {
		heard, err := d.follow(ctx, client, feed)
		if ctx.Err() != nil {
			return
		}
		if heard {
			failures = 0
		}
		failures++
		feed.Failed(fmt.Errorf("docker %s: %w", d.socket, err))
		if !wait(ctx, backoff(failures)) {
			return
		}
	}
}

// follow lists containers at first, at each event and now and then, until
// something fails. The stream is open before the first list, so that no event
// falls between them. It tells whether a list came through.
func (d docker) follow(ctx context.Context, client dockerClient, feed Feed) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if client.version, err = client.ping(ctx); err != nil {
		return false, err
	}
	stream, err := client.get(ctx, "/events", map[string][]string{
		"type": {"container", "network"},
		// "die" comes with every end; health_status has its own state behind it.
		"event": {"start", "die", "pause", "unpause", "health_status", "connect", "disconnect"},
	}, nil)
	if err != nil {
		return false, err
	}
	news, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- readEvents(stream, news) }()
	defer func() {
		cancel()
		_ = stream.Close() // Nothing is lost: all that is read has been told.
		if ended != nil {
			<-ended
		}
	}()
	ticker := time.NewTicker(dockerEvery)
	defer ticker.Stop()
	for {
		list, err := client.list(ctx, d.label)
		if err != nil {
			return heard, err
		}
		heard = true
		feed.report(d.replicas(list))
		select {
		case <-news:
			if !wait(ctx, dockerSettle) {
				return heard, ctx.Err()
			}
		case <-ticker.C:
		case <-ctx.Done():
			return heard, ctx.Err()
		case err := <-ended:
			ended = nil
			return heard, fmt.Errorf("events: %w", err)
		}
	}
}

// readEvents rings for each event until the stream ends.
func readEvents(stream io.Reader, news chan<- struct{}) error {
	events := json.NewDecoder(stream)
	for {
		var event struct {
			Type string
		}
		if err := events.Decode(&event); err != nil {
			return err
		}
		select {
		case news <- struct{}{}:
		default: // It has been rung.
		}
	}
}

// replicas reads the addresses of containers. Those that are starting, as their
// own health checks say, are not there yet. Those that are unhealthy are left
// out unless they are more than half: then the checks are presumed wrong, and
// the pool's own decide.
func (d docker) replicas(list []container) ([]announced, error) {
	well, unwell := []announced{}, []announced{}
	var errs []error
	for _, c := range list {
		if c.State != "running" || strings.Contains(c.Status, "(health: starting)") {
			continue
		}
		address, err := d.address(c)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("container %s: %w", c.name(), err))
		case strings.Contains(c.Status, "(unhealthy)"):
			unwell = append(unwell, announced{address: address, weight: 1})
		default:
			well = append(well, announced{address: address, weight: 1})
		}
	}
	if len(unwell) > len(well) {
		well = append(well, unwell...)
	}
	return well, errors.Join(errs...)
}

// container is one of those that the engine lists.
type container struct {
	ID     string `json:"Id"`
	Names  []string
	State  string
	Status string // for people, with the state of health: "Up 5 minutes (healthy)"
	Labels map[string]string
	Ports  []struct {
		PrivatePort uint16
		Type        string
	}
	NetworkSettings struct {
		Networks map[string]struct {
			IPAddress         string
			GlobalIPv6Address string
		}
	}
}

func (c container) name() string {
	if len(c.Names) > 0 {
		return strings.TrimPrefix(c.Names[0], "/")
	}
	return c.ID
}

func (d docker) address(c container) (Address, error) {
	port, err := d.portOf(c)
	if err != nil {
		return "", err
	}
	network := d.network
	if network == "" {
		network = c.Labels["edge.network"]
	}
	var names []string
	for name := range sorted(c.NetworkSettings.Networks) {
		names = append(names, name)
	}
	if network == "" && len(names) == 1 {
		network = names[0]
	}
	place, on := c.NetworkSettings.Networks[network]
	if !on {
		return "", fmt.Errorf("network %q: it is on %q: name one of them, by network or by its label edge.network", network, names)
	}
	for _, text := range []string{place.IPAddress, place.GlobalIPv6Address} {
		if ip, err := netip.ParseAddr(text); err == nil {
			return Address(netip.AddrPortFrom(ip, port).String()), nil
		}
	}
	return "", fmt.Errorf("network %q: it has no address there: want a network that edge can reach, such as a bridge", network)
}

func (d docker) portOf(c container) (uint16, error) {
	if d.port != 0 {
		return d.port, nil
	}
	if text, given := c.Labels["edge.port"]; given {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("label edge.port %q: want a number from 1 to 65535", text)
		}
		return uint16(n), nil
	}
	var ports []uint16
	for _, p := range c.Ports { // A port that is published stands there once for each address.
		if p.Type == "tcp" && !slices.Contains(ports, p.PrivatePort) {
			ports = append(ports, p.PrivatePort)
		}
	}
	if len(ports) != 1 {
		return 0, fmt.Errorf("it exposes %d TCP ports: say which, by port or by its label edge.port", len(ports))
	}
	return ports[0], nil
}

// dockerClient speaks the version of the API that the engine speaks best: what
// we read is the same in all of them.
type dockerClient struct {
	http    *http.Client
	version string
}

func (c dockerClient) ping(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dockerTimeout)
	defer cancel()
	var version string
	body, err := c.get(ctx, "/_ping", nil, func(h http.Header) { version = h.Get("Api-Version") })
	if err != nil {
		return "", err
	}
	_ = body.Close() // "OK"
	if version == "" {
		return "", errors.New("no Api-Version in its answer to /_ping: want a Docker Engine, or what speaks like one")
	}
	return version, nil
}

func (c dockerClient) list(ctx context.Context, label string) ([]container, error) {
	ctx, cancel := context.WithTimeout(ctx, dockerTimeout)
	defer cancel()
	body, err := c.get(ctx, "/containers/json", map[string][]string{"label": {label}, "status": {"running"}}, nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var list []container
	if err := json.NewDecoder(io.LimitReader(body, mostDocker)).Decode(&list); err != nil {
		return nil, fmt.Errorf("containers: %w", err)
	}
	return list, nil
}

// get asks for a path and returns the body of an answer that is 200.
func (c dockerClient) get(ctx context.Context, path string, filters map[string][]string, header func(http.Header)) (io.ReadCloser, error) {
	target := "http://docker" + path
	if c.version != "" {
		target = "http://docker/v" + url.PathEscape(c.version) + path
	}
	if filters != nil {
		text, err := json.Marshal(filters)
		if err != nil {
			return nil, err
		}
		target += "?filters=" + url.QueryEscape(string(text))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		var problem struct{ Message string }
		_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&problem) // The status says enough.
		return nil, fmt.Errorf("%s: %s %s", path, resp.Status, problem.Message)
	}
	if header != nil {
		header(resp.Header)
	}
	return resp.Body, nil
}
