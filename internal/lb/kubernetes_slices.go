package lb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
)

// slice is an EndpointSlice (discovery.k8s.io/v1), as far as we look at it.
type slice struct {
	Kind     string
	Metadata struct {
		Name            string
		ResourceVersion string
	}
	AddressType string // IPv4, IPv6 or FQDN
	Ports       []slicePort
	Endpoints   []endpoint
}

type slicePort struct {
	Name     *string // nil as good as ""
	Port     *uint16 // nil: any
	Protocol *string // nil: TCP
}

// endpoint has one address; of more, only the first means anything.
type endpoint struct {
	Addresses  []string
	Conditions struct {
		Ready       *bool // nil: true
		Serving     *bool // nil: true
		Terminating *bool // nil: false
	}
	TargetRef *struct {
		Kind string
		Name string
		UID  string
	}
}

// apiStatus is how the API tells of an error.
type apiStatus struct {
	Kind    string
	Code    int
	Reason  string
	Message string
}

func (s apiStatus) error() error {
	text := strings.TrimSpace(fmt.Sprintf("%d %s %s", s.Code, http.StatusText(s.Code), s.Message))
	switch s.Code {
	case http.StatusGone:
		return errGone
	case http.StatusForbidden:
		return fmt.Errorf("%s: want a role that may list and watch endpointslices of discovery.k8s.io", text)
	case http.StatusUnauthorized:
		return fmt.Errorf("%s: want a token that this server takes", text)
	}
	return errors.New(text)
}

// readSlices reads a list, whole or not at all.
func readSlices(r io.Reader) (map[string]slice, string, error) {
	var list struct {
		Kind     string
		Metadata struct {
			ResourceVersion string
			Continue        string
		}
		Items []slice
	}
	if err := json.NewDecoder(io.LimitReader(r, mostSlices)).Decode(&list); err != nil {
		return nil, "", fmt.Errorf("list: %w", err)
	}
	switch {
	case list.Kind != "EndpointSliceList":
		return nil, "", fmt.Errorf("list: got kind %q: want EndpointSliceList of discovery.k8s.io/v1", list.Kind)
	case list.Metadata.Continue != "":
		return nil, "", errors.New("list: it is cut into pages, which nobody asked for")
	case list.Metadata.ResourceVersion == "":
		return nil, "", errors.New("list: it has no resourceVersion to go on from")
	}
	all := make(map[string]slice, len(list.Items))
	for _, s := range list.Items {
		if s.Metadata.Name == "" {
			return nil, "", errors.New("list: a slice has no name")
		}
		all[s.Metadata.Name] = s
	}
	return all, list.Metadata.ResourceVersion, nil
}

// watchEvent is a change of a slice, or a bookmark: a version to go on from.
type watchEvent struct {
	bookmark bool
	deleted  bool
	slice    slice
}

// readWatch reads events until the stream ends between two of them, which is
// good order, or breaks off.
func readWatch(r io.Reader, apply func(watchEvent) error) error {
	measured := &measuredReader{r: r}
	events := json.NewDecoder(measured)
	for {
		measured.left = mostEvent
		var raw struct {
			Type   string
			Object json.RawMessage
		}
		if err := events.Decode(&raw); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		e, err := readEvent(raw.Type, raw.Object)
		if err != nil {
			return err
		}
		if err := apply(e); err != nil {
			return err
		}
	}
}

func readEvent(kind string, object json.RawMessage) (watchEvent, error) {
	e := watchEvent{bookmark: kind == "BOOKMARK", deleted: kind == "DELETED"}
	switch kind {
	case "ADDED", "MODIFIED", "DELETED", "BOOKMARK":
	case "ERROR":
		var s apiStatus
		if err := json.Unmarshal(object, &s); err != nil {
			return e, fmt.Errorf("watch: %w", err)
		}
		return e, s.error()
	default:
		return e, fmt.Errorf("watch: got an event of type %.40q: want ADDED, MODIFIED, DELETED, BOOKMARK or ERROR", kind)
	}
	if err := json.Unmarshal(object, &e.slice); err != nil {
		return e, fmt.Errorf("watch: %w", err)
	}
	is := &e.slice
	if is.Kind != "EndpointSlice" || is.Metadata.ResourceVersion == "" || (is.Metadata.Name == "" && !e.bookmark) {
		return e, fmt.Errorf("watch: %s of kind %.40q, name %.80q, version %.40q: want an EndpointSlice with all three", kind, is.Kind, is.Metadata.Name, is.Metadata.ResourceVersion)
	}
	return e, nil
}

// measuredReader ends a stream whose next event is larger than it may be.
type measuredReader struct {
	r    io.Reader
	left int
}

func (m *measuredReader) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, fmt.Errorf("an event is larger than %d bytes", mostEvent)
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// sightings are the endpoints that were ready once: one that is not any more
// has turned sick, one that never was is starting.
type sightings struct {
	seen map[string]bool
}

// readiness is what its conditions make of an endpoint, the best first.
type readiness uint8

const (
	isReady    readiness = iota
	isSick               // it was ready, and is not
	isStarting           // it never was
	isEnding             // it is shutting down and still serves
	isUseless            // it is shutting down and does not
)

func (e *endpoint) readiness(seen bool) readiness {
	c := &e.Conditions
	is := func(b *bool, unsaid bool) bool {
		if b == nil {
			return unsaid
		}
		return *b
	}
	// A pod that ends is not asked, even if its service publishes pods that are
	// not ready and calls it so.
	switch ready := is(c.Ready, true); {
	case is(c.Terminating, false) && is(c.Serving, ready):
		return isEnding
	case is(c.Terminating, false):
		return isUseless
	case ready:
		return isReady
	case seen:
		return isSick
	}
	return isStarting
}

// found is an endpoint with its address as ours.
type found struct {
	address   Address
	readiness readiness
	six       bool
}

// replicas chooses among the endpoints of all slices:
//
//   - those that are ready;
//   - those that turned sick, if they are more than those: then what found them
//     sick is presumed wrong, and the pool's own checks decide;
//   - without any of these, those that start, which the pool's checks await;
//   - without those too, the ones that shut down and still serve, as kube-proxy
//     does (KEP-1669).
//
// An endpoint may be in several slices while they are rearranged, and in one of
// each family: it counts once, in its best state, by IPv4 rather than IPv6.
func (d kubernetes) replicas(all map[string]slice, told *sightings) ([]announced, error) {
	known := make(map[string]found)
	var errs []error
	for name, s := range sorted(all) {
		if len(s.Endpoints) == 0 {
			continue // That of a service without pods says no port either.
		}
		port, err := d.portOf(&s)
		if err != nil {
			errs = append(errs, fmt.Errorf("slice %s: %w", name, err))
			continue
		}
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			f, key, err := place(e, port)
			if err != nil {
				errs = append(errs, fmt.Errorf("slice %s: %w", name, err))
				continue
			}
			f.readiness = e.readiness(told.seen[key])
			old, twice := known[key]
			if !twice || f.readiness < old.readiness || (f.readiness == old.readiness && old.six && !f.six) {
				known[key] = f
			}
		}
	}
	told.remember(known)
	return choose(known), errors.Join(errs...)
}

// place is where an endpoint is, and who: its pod, or else the address.
func place(e *endpoint, port uint16) (found, string, error) {
	if len(e.Addresses) == 0 {
		return found{}, "", errors.New("an endpoint has no address")
	}
	ip, err := netip.ParseAddr(e.Addresses[0])
	if err != nil || ip.Zone() != "" {
		return found{}, "", fmt.Errorf("address %.80q: want an IP address", e.Addresses[0])
	}
	address := Address(netip.AddrPortFrom(ip.Unmap(), port).String())
	f := found{address: address, six: ip.Unmap().Is6()}
	if e.TargetRef != nil && e.TargetRef.Kind == "Pod" && e.TargetRef.UID != "" {
		return f, fmt.Sprintf("%s:%d", e.TargetRef.UID, port), nil
	}
	return f, string(address), nil
}

// remember notes who is ready, and forgets who is gone.
func (t *sightings) remember(known map[string]found) {
	next := make(map[string]bool, len(known))
	for key, f := range known {
		if f.readiness == isReady || t.seen[key] {
			next[key] = true
		}
	}
	t.seen = next
}

func choose(known map[string]found) []announced {
	best := make(map[Address]readiness) // Two pods at one address are one replica.
	for _, f := range known {
		if old, twice := best[f.address]; !twice || f.readiness < old {
			best[f.address] = f.readiness
		}
	}
	var by [isUseless + 1][]announced
	for address, state := range sorted(best) {
		by[state] = append(by[state], announced{address: address, weight: 1})
	}
	list := by[isReady]
	if len(by[isSick]) > len(list) {
		list = append(list, by[isSick]...)
	}
	for _, last := range [][]announced{by[isStarting], by[isEnding]} {
		if len(list) == 0 {
			list = last
		}
	}
	return list
}

// portOf is the port of a slice's endpoints.
func (d kubernetes) portOf(s *slice) (uint16, error) {
	if d.port != 0 {
		return d.port, nil
	}
	var names []string
	var port *uint16
	for _, p := range s.Ports {
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		if p.Protocol != nil && *p.Protocol != "TCP" {
			continue
		}
		if d.portName == "" || name == d.portName {
			names, port = append(names, name), p.Port
		}
	}
	switch {
	case len(names) == 0 && d.portName != "":
		return 0, fmt.Errorf("port %s: it has none of this name", d.portName)
	case len(names) != 1:
		return 0, fmt.Errorf("it has %d TCP ports %q: say which, by port", len(names), names)
	case port == nil || *port == 0:
		return 0, errors.New("its port has no number: say one, by port")
	}
	return *port, nil
}
