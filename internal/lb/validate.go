package lb

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/edgegw/edge/internal/autoscale"
	"github.com/edgegw/edge/internal/unit"
)

// maxAttempts bounds the tries of one request: the first and five more.
const maxAttempts = 6

// maxKept bounds what is kept of one request's body: it stays in memory for as
// long as the request takes.
const maxKept unit.Bytes = 16 << 20

// Validate returns every mistake of c at once, or nil. It builds the policy,
// the discoveries and the TLS settings to check their words; it starts nothing.
func (c Config) Validate() error {
	_, err := compile(c)
	return err
}

// settings is a Config in force: defaults filled in, parts built.
type settings struct {
	Config
	policy      Policy
	discoveries []Discovery
	scale       autoscale.Settings
	driver      autoscale.Driver // nil when nobody is told
	runs        bool             // replicas are processes of the pool's own
	tls         *tls.Config      // nil for plain HTTP
	expect      expectation
}

// compile checks c and builds its parts.
func compile(c Config) (*settings, error) {
	errs := c.rangeErrors()
	s := &settings{Config: c.withDefaults()}

	policy, err := Policies.New(s.Policy)
	if err != nil {
		errs = append(errs, fmt.Errorf("policy: %w", err))
	}
	s.policy = policy
	for _, spec := range s.Discover {
		d, err := Discoveries.New(spec)
		if err != nil {
			errs = append(errs, fmt.Errorf("discover: %w", err))
		}
		s.discoveries = append(s.discoveries, d)
	}
	s.runs = c.running() > 0
	if n := c.running(); n > 1 {
		errs = append(errs, fmt.Errorf("discover process: given %d times: want one in a pool", n))
	}
	if err := c.Autoscale.Validate(s.Queue.MaxInflight); err != nil {
		errs = append(errs, err)
	}
	s.scale = c.Autoscale.Settings(s.Queue.MaxInflight)
	if name := c.Autoscale.Driver.Name; name != "" {
		errs = append(errs, c.driverErrors(name)...)
		s.driver, _ = autoscale.Drivers.New(c.Autoscale.Driver) // The error has been told.
	}
	s.tls, err = s.Transport.tlsConfig()
	if err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.expect = s.Health.expectation()
	return s, nil
}

// running is how many of the pool's discoveries run the replicas themselves.
func (c Config) running() (n int) {
	for _, spec := range c.Discover {
		if spec.Name == "process" {
			n++
		}
	}
	return n
}

// driverErrors: who runs the replicas drives them.
func (c Config) driverErrors(name string) []error {
	switch runs := c.running() > 0; {
	case runs && name != "process":
		return []error{fmt.Errorf("autoscale driver %s: the pool runs its replicas itself: want driver process", name)}
	case !runs && name == "process":
		return []error{errors.New("autoscale driver process: the pool does not run its replicas itself: want discover process")}
	}
	return nil
}

// rangeErrors checks the plain values, as the operator wrote them.
func (c Config) rangeErrors() []error {
	var errs []error
	durations := map[string]unit.Duration{
		"slow_start": c.SlowStart, "drain": c.Drain,
		"health interval": c.Health.Interval, "health timeout": c.Health.Timeout,
		"breaker window": c.Breaker.Window, "breaker open": c.Breaker.Open,
		"eject base": c.Eject.Base, "eject max": c.Eject.Max,
		"retry timeout": c.Retry.Timeout, "hedge after": c.Hedge.After,
		"queue wait":             c.Queue.Wait,
		"transport dial_timeout": c.Transport.DialTimeout, "transport header_timeout": c.Transport.HeaderTimeout,
		"transport body_timeout": c.Transport.BodyTimeout, "transport idle_timeout": c.Transport.IdleTimeout,
	}
	for word, d := range sorted(durations) {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s %s: want a positive duration such as 2s", word, d.D()))
		}
	}
	numbers := map[string]struct{ n, low, high int }{
		"health passes":        {c.Health.Passes, 0, 100},
		"health fails":         {c.Health.Fails, 0, 100},
		"breaker min_requests": {c.Breaker.MinRequests, 0, 1e6},
		"breaker consecutive":  {c.Breaker.Consecutive, -1, 1e6},
		"eject consecutive":    {c.Eject.Consecutive, -1, 1e6},
		"eject latency":        {c.Eject.Latency, -1, 1e6},
		"eject min_requests":   {c.Eject.MinRequests, 0, 1e6},
		"retry attempts":       {c.Retry.Attempts, -1, maxAttempts - 1},
		"queue max_inflight":   {c.Queue.MaxInflight, -1, 1e6},
		"queue length":         {c.Queue.Length, -1, 1e6},
		"transport max_idle":   {c.Transport.MaxIdle, 0, 1e6},
	}
	for word, v := range sorted(numbers) {
		if v.n < v.low || v.n > v.high {
			errs = append(errs, fmt.Errorf("%s %d: want a number from %d to %d", word, v.n, v.low, v.high))
		}
	}
	ratios := map[string]unit.Ratio{
		"breaker failure_ratio": c.Breaker.FailureRatio, "retry budget": c.Retry.Budget,
		"hedge quantile": c.Hedge.Quantile, "hedge budget": c.Hedge.Budget,
		"eject failure_ratio": c.Eject.FailureRatio, "eject max_share": c.Eject.MaxShare,
	}
	for word, r := range sorted(ratios) {
		if !(r >= 0 && r <= 1) {
			errs = append(errs, fmt.Errorf("%s %v: want a share from 0 to 1, or such as 20%%", word, float64(r)))
		}
	}
	if c.Queue.Adaptive && c.Queue.MaxInflight < 0 {
		errs = append(errs, errors.New("queue: adaptive wants a max_inflight to stay below"))
	}
	if c.Retry.Body < 0 || c.Retry.Body > maxKept {
		errs = append(errs, fmt.Errorf("retry body %s: want a size up to %s", c.Retry.Body, maxKept))
	}
	if filled := c.withDefaults().Eject; filled.Max < filled.Base && c.Eject.Max >= 0 {
		errs = append(errs, fmt.Errorf("eject max %s: want at least base, %s", filled.Max.D(), filled.Base.D()))
	}
	return append(errs, c.Health.errors()...)
}

func (h Health) errors() []error {
	var errs []error
	if h.Path != "" && !strings.HasPrefix(h.Path, "/") {
		errs = append(errs, fmt.Errorf("health path %q: want a path that begins with /, such as /healthz", h.Path))
	}
	if h.ExpectBody != "" {
		if _, err := CheckPattern(h.ExpectBody); err != nil {
			errs = append(errs, fmt.Errorf("health expect_body %w", err))
		}
	}
	if h.Path == "" && (len(h.ExpectStatus) > 0 || h.ExpectBody != "" || h.Host != "") {
		errs = append(errs, errors.New("health: host, expect_status and expect_body want a path to ask for, such as /healthz"))
	}
	for word, name := range sorted(map[string]string{"version_header": h.VersionHeader, "instance_header": h.InstanceHeader}) {
		if strings.ContainsAny(name, " \t\r\n:") {
			errs = append(errs, fmt.Errorf("health %s %q: want a header name such as X-App-Version", word, name))
		}
	}
	return errs
}

// tlsConfig is nil when the replicas speak plain HTTP.
func (t Transport) tlsConfig() (*tls.Config, error) {
	if !t.TLS {
		if t.ServerName != "" || t.CAFile != "" || t.UnsafeSkipVerify {
			return nil, errors.New("transport: server_name, ca_file and unsafe_skip_verify want tls")
		}
		return nil, nil
	}
	c := &tls.Config{
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.UnsafeSkipVerify, //nolint:gosec // the operator wrote unsafe_skip_verify
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
	}
	if t.CAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("transport ca_file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("transport ca_file %q: holds no certificate: want PEM", t.CAFile)
	}
	return c, nil
}
