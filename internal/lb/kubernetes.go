package lb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Discoveries.Register("kubernetes", newKubernetes, named.Spec{Args: []string{"app"}})
}

const (
	// accountDir is where Kubernetes mounts what a pod needs to speak to the API.
	accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

	// serviceLabel names the service that a slice belongs to (discovery.k8s.io/v1,
	// LabelServiceName).
	serviceLabel = "kubernetes.io/service-name"

	// watchFor is how long one watch lasts, up to twice of it, as in client-go
	// (tools/cache, minWatchTimeout: 5 minutes): it bounds how long a server that
	// is alive and silent is believed.
	watchFor = 5 * time.Minute

	// shortWatch is the length below which a watch that brought nothing counts as
	// a failure, so that a server that hangs up is not asked in a loop.
	shortWatch = time.Second
)

// kubernetes finds replicas as the endpoints of a service, by the EndpointSlices
// of the Kubernetes API: a list, then a watch from where the list ended.
//
// Its own client would add 283 packages, 28 MB and a minute of build (client-go
// v0.36.4) for the two requests that we make, so it is left out.
type kubernetes struct {
	service   string // "": selector says
	namespace string // "": that of our own pod
	selector  string
	port      uint16 // 0: portName
	portName  string // "": the one TCP port of a slice
	server    *url.URL
	token     string // path of a file; "": that of our own pod, if there is no server
	ca        string
	account   string // accountDir
}

// A name of Kubernetes (RFC 1123 label, and RFC 1035 for services).
var kubernetesName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// newKubernetes reads `kubernetes SERVICE { namespace, port, selector, server,
// token_file, ca_file }`.
func newKubernetes(s named.Spec) (Discovery, error) {
	errs := s.Want(0, 1, "the name of a service such as app", "namespace", "port", "selector", "server", "token_file", "ca_file")
	d := kubernetes{service: argument(s, 0), account: accountDir}
	port, server := "", ""
	for word, to := range sorted(map[string]*string{
		"namespace": &d.namespace, "selector": &d.selector, "port": &port,
		"server": &server, "token_file": &d.token, "ca_file": &d.ca,
	}) {
		errs = append(errs, oneWord(s, word, to))
	}
	if len(s.Args) == 0 && d.selector == "" {
		errs = append(errs, errors.New("kubernetes: want the name of a service such as app, or a selector of EndpointSlices"))
	}
	for what, name := range sorted(map[string]string{"service": d.service, "namespace": d.namespace}) {
		if name != "" && !kubernetesName.MatchString(name) {
			errs = append(errs, fmt.Errorf("kubernetes %s %q: want lower case letters, digits and hyphens, such as app", what, name))
		}
	}
	errs = append(errs, d.readPort(port), d.readServer(server))
	for word, file := range sorted(map[string]string{"token_file": d.token, "ca_file": d.ca}) {
		if file != "" && !path.IsAbs(file) {
			errs = append(errs, fmt.Errorf("kubernetes %s %q: want the whole path of a file, such as %s", word, file, accountDir+"/token"))
		}
	}
	return d, errors.Join(errs...)
}

// readPort takes a number, the name of a port, or "".
func (d *kubernetes) readPort(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil && (text == "" || kubernetesName.MatchString(text)):
		d.portName = text
	case err != nil || n < 1 || n > 65535:
		return fmt.Errorf("kubernetes port %q: want a number from 1 to 65535, or the name of a port of the service, such as http", text)
	default:
		d.port = uint16(n)
	}
	return nil
}

// readServer takes the URL of an API server. Without TLS only this machine's own
// loopback is spoken to, where `kubectl proxy` listens: a token goes by.
func (d *kubernetes) readServer(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("kubernetes server %q: want a URL such as https://10.96.0.1:443", text)
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	local := ip.IsLoopback() || u.Hostname() == "localhost"
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return fmt.Errorf("kubernetes server %q: want https, or http to this machine itself, where kubectl proxy listens", text)
	}
	if u.Scheme == "http" && d.ca != "" {
		return fmt.Errorf("kubernetes server %q: ca_file wants https", text)
	}
	d.server = u
	return nil
}

// labels is the selector of the slices that are looked at.
func (d kubernetes) labels() string {
	if d.service == "" {
		return d.selector
	}
	of := serviceLabel + "=" + d.service
	if d.selector == "" {
		return of
	}
	return of + "," + d.selector
}

func (d kubernetes) Run(ctx context.Context, feed Feed) {
	told := sightings{seen: make(map[string]bool)}
	for failures, empties := 0, 0; ; {
		heard, err := d.follow(ctx, feed, &told, &empties)
		if ctx.Err() != nil {
			return
		}
		if heard {
			failures = 0
		}
		if errors.Is(err, errGone) && failures == 0 {
			failures++ // The history is short: list anew, at once for the first time.
			continue
		}
		failures++
		if !errors.Is(err, errGone) {
			feed.Failed(fmt.Errorf("kubernetes %s: %w", d.labels(), err))
		}
		if !wait(ctx, spread(backoff(failures))) {
			return
		}
	}
}

// spread makes gateways that lost their server together come back apart.
func spread(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// errGone: what the watch should begin with has left the server's history.
var errGone = errors.New("the version that the watch goes on from is gone")

// errNoSlice: there is no slice at all, which is more often a wrong name than a
// service that has ended.
var errNoSlice = errors.New("no EndpointSlice has these labels: does the service exist, in this namespace?")

// follow lists slices and watches them until something fails. It tells whether
// anything came through. That there is no slice is believed the third time.
func (d kubernetes) follow(ctx context.Context, feed Feed, told *sightings, empties *int) (heard bool, err error) {
	client, err := d.connect()
	if err != nil {
		return false, err
	}
	defer client.close()
	all, version, err := client.list(ctx)
	if err != nil {
		return false, err
	}
	if *empties++; len(all) > 0 {
		*empties = 0
	} else if *empties < vanishedAfter {
		return false, errNoSlice
	}
	report := func() {
		list, problem := d.replicas(all, told)
		if len(all) == 0 {
			problem = errNoSlice
		}
		feed.report(list, problem)
	}
	report()
	for {
		began, before := time.Now(), version
		err := client.watch(ctx, version, func(e watchEvent) error {
			version = e.slice.Metadata.ResourceVersion
			if e.bookmark {
				return nil
			}
			if e.deleted {
				delete(all, e.slice.Metadata.Name)
			} else {
				all[e.slice.Metadata.Name] = e.slice
			}
			if len(all) == 0 {
				return errNoSlice
			}
			report()
			return nil
		})
		brief := time.Since(began) < shortWatch
		heard = heard || version != before || !brief
		switch {
		case ctx.Err() != nil:
			return heard, ctx.Err()
		case err != nil:
			return heard, err
		case version == before && brief:
			return heard, errors.New("watch: ended as soon as it began")
		}
		if !wait(ctx, spread(shortWatch)) {
			return heard, ctx.Err()
		}
	}
}

// ownNamespace is that of the pod that we run in.
func (d kubernetes) ownNamespace() (string, error) {
	text, err := os.ReadFile(d.account + "/namespace")
	if err != nil {
		return "", fmt.Errorf("%w: want edge to run in a pod, or a namespace", err)
	}
	return strings.TrimSpace(string(text)), nil
}
