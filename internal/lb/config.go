package lb

import (
	"time"

	"github.com/edgegw/edge/internal/autoscale"
	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

// Config says how to find and treat the replicas of one pool. The zero value
// is valid: a pool of registered replicas with every default. Zero fields take
// the default that their comment names; all defaults stand in withDefaults.
type Config struct {
	// Discover lists where replicas are found. Every source is asked, and a
	// replica found by several is one replica. Registered replicas come on top.
	Discover []named.Spec `json:"discover,omitempty"`

	Health  Health  `json:"health,omitzero"`
	Breaker Breaker `json:"breaker,omitzero"`
	Eject   Eject   `json:"eject,omitzero"`
	Retry   Retry   `json:"retry,omitzero"`
	Hedge   Hedge   `json:"hedge,omitzero"`
	Queue   Queue   `json:"queue,omitzero"`

	// Policy picks a replica for a request. Default least_time.
	Policy named.Spec `json:"policy,omitzero"`

	// SlowStart is how long a replica that joins, or comes back, takes to reach
	// its full share, in a straight line from a tenth. Default 10s; 1ms is as
	// good as none. A pool that starts with all replicas new skips it.
	SlowStart unit.Duration `json:"slow_start,omitzero"`

	// Drain is how long the requests of a removed replica may still take before
	// their connections are closed. Default 30s.
	Drain unit.Duration `json:"drain,omitzero"`

	Transport Transport `json:"transport,omitzero"`

	// Autoscale says how many replicas there should be, and who sees to it.
	Autoscale autoscale.Config `json:"autoscale,omitzero"`
}

// Health says how replicas are checked. Each replica, however found, is
// checked by a goroutine of its own, off the path of requests.
type Health struct {
	// Path is asked for by GET. Default none: a TCP connection (with TLS, its
	// handshake) is check enough.
	Path string `json:"path,omitempty"`

	// Host is the Host header of a check. Default the replica's address.
	Host string `json:"host,omitempty"`

	// Interval between two checks of one replica, jittered by a tenth either
	// way. Default 2s. A replica that has not passed yet is checked at least
	// every 500ms.
	Interval unit.Duration `json:"interval,omitzero"`

	// Timeout of one check, connecting included. Default 1s.
	Timeout unit.Duration `json:"timeout,omitzero"`

	// Passes in a row that make a replica healthy. Default 1.
	Passes int `json:"passes,omitempty"`

	// Fails in a row that make a replica sick. Default 2.
	Fails int `json:"fails,omitempty"`

	// ExpectStatus are the statuses that pass. Default 2xx.
	ExpectStatus []StatusRange `json:"expect_status,omitempty"`

	// ExpectBody is a regular expression (RE2) that must match somewhere in the
	// first 64 KiB of the body. Default anything.
	ExpectBody string `json:"expect_body,omitempty"`

	// VersionHeader is the response header in which a replica says which
	// version of the application it runs. It is read from checks and from
	// answers to visitors. Default none: versions are unknown.
	VersionHeader string `json:"version_header,omitempty"`

	// InstanceHeader is the response header in which a replica says which
	// process it is. A change of it, or of the version, at an address means
	// another process: it takes nothing before its own check has passed, and
	// what was learnt about the old one is forgotten.
	InstanceHeader string `json:"instance_header,omitempty"`
}

// Breaker says when a replica is set aside by what requests see of it. It
// opens on the failure ratio or on consecutive gateway failures (no connection,
// reset, time-out, cut body, 502, 503, 504); other 5xx count in the ratio only.
type Breaker struct {
	// FailureRatio of the window that opens it. Default 0.5.
	FailureRatio unit.Ratio `json:"failure_ratio,omitzero"`

	// MinRequests in the window before the ratio means anything. Default 20.
	MinRequests int `json:"min_requests,omitempty"`

	// Window over which outcomes are counted, in ten steps. Default 10s.
	Window unit.Duration `json:"window,omitzero"`

	// Open is how long it stays open before one request may probe. Default 5s.
	Open unit.Duration `json:"open,omitzero"`

	// Consecutive gateway failures that open it. Default 5; -1 never.
	Consecutive int `json:"consecutive,omitempty"`
}

// Eject says when a replica is set aside because it is worse than its peers
// (outlier detection). A breaker looks at one replica alone and asks again after
// a fixed time; an ejection compares, lasts longer each time, and is held to a
// share of the pool. It comes back through slow start.
type Eject struct {
	// Off switches ejections off.
	Off bool `json:"off,omitempty"`

	// Consecutive gateway failures that eject a replica, if its peers fail less
	// than half as often. Default 5; -1 never.
	Consecutive int `json:"consecutive,omitempty"`

	// FailureRatio of the last ten seconds above which a replica is ejected, if
	// it is also three times the median of its peers. Default 10%.
	FailureRatio unit.Ratio `json:"failure_ratio,omitzero"`

	// Latency is how many times the median of its peers the mean latency of the
	// last ten seconds must be, and 100 ms more than it. Default 5; -1 never.
	Latency int `json:"latency,omitempty"`

	// MinRequests in ten seconds before ratio and latency mean anything, of the
	// replica and of the peers that it is compared with. Default 30.
	MinRequests int `json:"min_requests,omitempty"`

	// Base is how long the first ejection lasts, a fifth more or less. Each
	// further one takes twice as long; a minute in rotation takes one doubling
	// back. Default 5s.
	Base unit.Duration `json:"base,omitzero"`

	// Max is the longest ejection. Default 5m.
	Max unit.Duration `json:"max,omitzero"`

	// MaxShare of the replicas that may be ejected at a time. Default 50%;
	// whatever it says, one that takes requests is left.
	MaxShare unit.Ratio `json:"max_share,omitzero"`
}

// Retry says how often a request may be tried on another replica. Only what is
// safe is retried: anything of which nothing was sent, and idempotent requests;
// with a body, if it is small enough to be kept.
type Retry struct {
	// Attempts on top of the first. Default 2, at most 5; -1 none.
	Attempts int `json:"attempts,omitempty"`

	// Budget is the share of the last ten seconds' requests that may be
	// retries, on top of a reserve of ten a second. Default 20%.
	Budget unit.Ratio `json:"budget,omitzero"`

	// Timeout is how long a try may take to the headers of the answer when the
	// request may go to another replica, and one is free to take it. The last try
	// may take its time. Default none.
	Timeout unit.Duration `json:"timeout,omitzero"`

	// Body is how much of a request's body is kept, as it passes, to be sent
	// again. A longer one is sent once. Default 64KiB, at most 16MiB; 1B is as
	// good as none.
	Body unit.Bytes `json:"body,omitzero"`

	// IdempotencyKey says that the application does a request once, however often
	// it arrives with the same Idempotency-Key field. Then such a request is
	// retried like a GET, whatever its method.
	IdempotencyKey bool `json:"idempotency_key,omitempty"`
}

// Hedge says whether a request that takes long is sent to a second replica
// besides, whoever answers first being taken and the other cancelled. Only safe
// requests without a body are, and none while the pool is busy: requests wait,
// most replicas are sick, or more than 70 % of max_inflight is in use.
type Hedge struct {
	// On switches it on.
	On bool `json:"on,omitempty"`

	// After is a fixed time to wait first. Default none: Quantile says.
	After unit.Duration `json:"after,omitzero"`

	// Quantile of the last ten seconds' times to the header, after which the
	// second is asked; not before 10 ms. Default 95%.
	Quantile unit.Ratio `json:"quantile,omitzero"`

	// Budget is the share of the last ten seconds' requests that may be sent
	// twice. Default 5%.
	Budget unit.Ratio `json:"budget,omitzero"`
}

// Queue says what happens to requests that no replica may take right now.
type Queue struct {
	// MaxInflight is the number of requests one replica works on at a time.
	// WebSockets and event streams do not count. Default 200; -1 no limit.
	MaxInflight int `json:"max_inflight,omitempty"`

	// Adaptive lowers MaxInflight for each replica to what does it good: as many
	// requests as it answers in not much more than the time of an uncrowded one.
	// Default off.
	Adaptive bool `json:"adaptive,omitempty"`

	// Wait is how long a request waits for a replica before it is refused with
	// 503 and Retry-After. Default 2s; 1ms is as good as none.
	Wait unit.Duration `json:"wait,omitzero"`

	// Length is how many requests may wait; more are refused at once. Default
	// 1000; -1 none waits.
	Length int `json:"length,omitempty"`
}

// Transport says how replicas are spoken to: HTTP/1.1, without compression of
// our own and without a proxy.
type Transport struct {
	// DialTimeout covers connecting and the TLS handshake. Default 3s.
	DialTimeout unit.Duration `json:"dial_timeout,omitzero"`

	// HeaderTimeout is the longest wait for the headers of an answer. Default
	// none: applications have requests that take minutes.
	HeaderTimeout unit.Duration `json:"header_timeout,omitzero"`

	// BodyTimeout is the longest that a replica may say nothing in the middle of
	// an answer, event streams and WebSockets aside. Then the answer is broken
	// off, and counts as a gateway failure. Default 60s, as in nginx; 7d is as
	// good as none.
	BodyTimeout unit.Duration `json:"body_timeout,omitzero"`

	// IdleTimeout closes idle connections. Default 4s, below the 5s after which
	// common application servers close theirs: a request must not meet a
	// connection that is being closed.
	IdleTimeout unit.Duration `json:"idle_timeout,omitzero"`

	// MaxIdle is the number of idle connections kept per replica. Default 256.
	MaxIdle int `json:"max_idle,omitempty"`

	// TLS speaks HTTPS to replicas.
	TLS bool `json:"tls,omitempty"`

	// ServerName is the name on the replicas' certificate. Default the host of
	// the replica's address.
	ServerName string `json:"server_name,omitempty"`

	// CAFile holds the certificates, in PEM, that may sign the replicas'.
	// Default the system's.
	CAFile string `json:"ca_file,omitempty"`

	// UnsafeSkipVerify accepts any certificate: whoever can answer at a
	// replica's address can read and change all traffic.
	UnsafeSkipVerify bool `json:"unsafe_skip_verify,omitempty"`
}

// withDefaults is the one place where the defaults stand.
func (c Config) withDefaults() Config {
	if c.Policy.Name == "" {
		c.Policy = named.Spec{Name: "least_time"}
	}
	c.SlowStart = defaulted(c.SlowStart, 10*time.Second)
	c.Drain = defaulted(c.Drain, 30*time.Second)

	c.Health.Interval = defaulted(c.Health.Interval, 2*time.Second)
	c.Health.Timeout = defaulted(c.Health.Timeout, time.Second)
	c.Health.Passes = number(c.Health.Passes, 1)
	c.Health.Fails = number(c.Health.Fails, 2)

	c.Breaker.FailureRatio = unit.Ratio(c.Breaker.FailureRatio.Or(0.5))
	c.Breaker.MinRequests = number(c.Breaker.MinRequests, 20)
	c.Breaker.Window = defaulted(c.Breaker.Window, 10*time.Second)
	c.Breaker.Open = defaulted(c.Breaker.Open, 5*time.Second)
	c.Breaker.Consecutive = number(c.Breaker.Consecutive, 5)

	c.Eject.Consecutive = number(c.Eject.Consecutive, 5)
	c.Eject.FailureRatio = unit.Ratio(c.Eject.FailureRatio.Or(0.1))
	c.Eject.Latency = number(c.Eject.Latency, 5)
	c.Eject.MinRequests = number(c.Eject.MinRequests, 30)
	c.Eject.Base = defaulted(c.Eject.Base, 5*time.Second)
	c.Eject.Max = defaulted(c.Eject.Max, 5*time.Minute)
	c.Eject.MaxShare = unit.Ratio(c.Eject.MaxShare.Or(0.5))

	c.Retry.Attempts = number(c.Retry.Attempts, 2)
	c.Retry.Budget = unit.Ratio(c.Retry.Budget.Or(0.2))
	c.Retry.Body = unit.Bytes(c.Retry.Body.Or(64 << 10))

	c.Hedge.Quantile = unit.Ratio(c.Hedge.Quantile.Or(0.95))
	c.Hedge.Budget = unit.Ratio(c.Hedge.Budget.Or(0.05))

	c.Queue.MaxInflight = number(c.Queue.MaxInflight, 200)
	c.Queue.Wait = defaulted(c.Queue.Wait, 2*time.Second)
	c.Queue.Length = number(c.Queue.Length, 1000)

	c.Transport.DialTimeout = defaulted(c.Transport.DialTimeout, 3*time.Second)
	c.Transport.BodyTimeout = defaulted(c.Transport.BodyTimeout, time.Minute)
	c.Transport.IdleTimeout = defaulted(c.Transport.IdleTimeout, 4*time.Second)
	c.Transport.MaxIdle = number(c.Transport.MaxIdle, 256)
	return c
}

func defaulted(d unit.Duration, fallback time.Duration) unit.Duration {
	return unit.Duration(d.Or(fallback))
}

func number(n, fallback int) int {
	if n == 0 {
		return fallback
	}
	return n
}
