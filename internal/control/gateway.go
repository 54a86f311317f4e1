// Package control is the gateway's control API as plain net/http: what CI calls
// after a deploy, what replicas call to register, and what operators ask. It is
// mounted with its prefix stripped, at the admin endpoint and on sites.
//
// Every answer is JSON and no-store; errors are problems of RFC 9457 that name
// the field, the value and what would be right.
package control

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

// Errors that a Gateway wraps for the API to answer 404.
var (
	// ErrUnknownPool: the configuration has no pool of this name.
	ErrUnknownPool = errors.New("no such pool")
	// ErrUnknownReplica: no replica has this id.
	ErrUnknownReplica = errors.New("no such replica")
	// ErrLastReplica, which is answered 409: nobody would be left.
	ErrLastReplica = errors.New("no replica would be left to take requests")
)

// Gateway is what the API controls. Implementations are safe for concurrent
// use. An error that holds a *purge.Mistake is the caller's (422); one that
// wraps a sentinel of this package or of purge is answered by its meaning; any
// other is a fault of ours (500) and its text is shown, so it holds no secret.
type Gateway interface {
	// Status is everything there is to see. Schema is filled in by the Handler.
	Status(ctx context.Context) Status
	// Ready tells which dependencies work.
	Ready(ctx context.Context) Readiness
	// Traffic is what requests cost of late, and how the last hour went; of its
	// intervals only those after a time. Its JSON is shown as it is.
	Traffic(after time.Time) any
	// Explain says what would become of a request. Its JSON is shown as it
	// is: an object whose fields stand in the order in which to read them.
	Explain(ctx context.Context, q ExplainQuery) (any, error)

	// Submit makes an order durable, or says why not; it does not wait for it.
	Submit(ctx context.Context, o purge.Order) (purge.Record, error)
	// Purge finds an order by its id.
	Purge(id string) (purge.Record, bool)
	// WaitPurge is Purge after the order is finished or ctx is done.
	WaitPurge(ctx context.Context, id string) (purge.Record, bool)
	// Purges lists the newest orders, newest first: of the whole fleet, and of this
	// node while the fleet does not answer.
	Purges(ctx context.Context, limit int) []purge.Record
	// CancelPurge ends an order: purge.ErrUnknown, purge.ErrFinished.
	CancelPurge(id string) error

	// Hint says that replicas may have changed; it may come often.
	Hint()

	// Register adds a replica to a pool until the lease ends; again with the
	// same address keeps it. ErrUnknownPool.
	Register(pool, address string, lease time.Duration) (id string, err error)
	// Drain lets replicas of a pool finish what they have and gives them nothing
	// new. Without the pool's name, all pools are asked for the replica.
	// ErrUnknownPool, ErrUnknownReplica; ErrLastReplica unless it is forced.
	Drain(pool string, o DrainOrder) ([]Drainee, error)
	// Undrain takes replicas back that Drain has set aside, and lists them.
	// ErrUnknownPool, ErrUnknownReplica.
	Undrain(pool string, o DrainOrder) ([]Drainee, error)
	// Deregister drains and then forgets a replica. ErrUnknownReplica.
	Deregister(id string) error

	// Deploy takes a call of somebody who waits for a version, and makes it
	// durable. Without a pool it is the only one that reads versions.
	// ErrUnknownPool, deploy.ErrConflict, deploy.ErrJournal, deploy.ErrBusy.
	Deploy(ctx context.Context, c deploy.Call) (deploy.Record, error)
	// Deployed finds a deploy by its id.
	Deployed(id string) (deploy.Record, bool)
	// WaitDeploy is Deployed after the deploy is finished or ctx is done.
	WaitDeploy(ctx context.Context, id string) (deploy.Record, bool)
	// CancelDeploy withdraws a call: deploy.ErrUnknown, deploy.ErrFinished.
	CancelDeploy(id string) error
	// Deploys lists the newest deploys, newest first; of one pool, if it is named.
	Deploys(pool string, limit int) []deploy.Record
	// Versions tells, for each pool, what its replicas run.
	Versions() map[string]deploy.Status

	// Autoscale is how many replicas each pool should have, by its name, or
	// one pool, if it is named. Its JSON is shown as it is. ErrUnknownPool.
	Autoscale(pool string) (any, error)
}

// StatusSchema is raised when a field of Status changes its meaning.
const StatusSchema = 1

// Status is what GET status answers.
type Status struct {
	// Schema is StatusSchema of the gateway that answered.
	Schema int `json:"schema"`
	// Version is the gateway's own, not the application's.
	Version string `json:"version"`
	// Caddy is the version of the Caddy that the gateway is a build of.
	Caddy string `json:"caddy,omitempty"`
	// Node names this node within the fleet.
	Node string `json:"node"`
	// Started is when the process did; Uptime is the time since.
	Started time.Time     `json:"started,omitzero"`
	Uptime  unit.Duration `json:"uptime"`
	// ConfigLoaded is when the configuration in force was loaded.
	ConfigLoaded time.Time `json:"config_loaded,omitzero"`
	// Generation is the fleet-wide counter that each purge raises.
	Generation uint64 `json:"generation"`
	// Pools is a list of pools, each an object with name, policy, panic,
	// in_flight, queued and replicas; a replica has id, address, version,
	// state, why, in_flight, ewma_ms and breaker.
	Pools any `json:"pools"`
	// Fleet is an object about the fleet as this node sees it, nil for a node
	// alone.
	Fleet any `json:"fleet,omitempty"`
	// Cache is an object of counters and sizes.
	Cache any `json:"cache"`
	// Purges are the orders at hand.
	Purges PurgeStatus `json:"purges"`
	// Deploys tells what the replicas run and ran.
	Deploys DeployStatus `json:"deploys"`
	// Dependencies are what this node needs besides itself.
	Dependencies []Dependency `json:"dependencies"`
	// Trouble is what somebody should look at now, the worst first.
	Trouble []Trouble `json:"trouble"`
}

// Trouble is one thing that is wrong.
type Trouble struct {
	// Alert is the name of the alert that it becomes if it lasts, and of the
	// runbook.
	Alert string `json:"alert"`
	// Severity is critical or warning.
	Severity string `json:"severity"`
	// Summary is one sentence.
	Summary string `json:"summary"`
	// Since is when it began, if that is known.
	Since time.Time `json:"since,omitzero"`
}

// PurgeStatus sums up the orders.
type PurgeStatus struct {
	// Pending counts orders that are not finished.
	Pending int `json:"pending"`
	// Last are the newest orders, newest first.
	Last []purge.Record `json:"last"`
}

// DeployStatus sums up versions and deploys.
type DeployStatus struct {
	// Pools tells, for each pool, what its replicas run.
	Pools map[string]deploy.Status `json:"pools"`
	// Last are the newest deploys, newest first.
	Last []deploy.Record `json:"last"`
}

// Dependency is something that the gateway needs and may lose.
type Dependency struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Severity is what it means that it is down: critical (this node should get
	// no traffic), degraded (visitors are served, something is worse), notice.
	Severity string `json:"severity,omitempty"`
	// Detail says what is wrong, or what is worth knowing.
	Detail string `json:"detail,omitempty"`
	// Latency is how long it took to answer when it was asked last.
	Latency unit.Duration `json:"latency,omitzero"`
	// Checked is when that was; none before the first time.
	Checked time.Time `json:"checked,omitzero"`
	// Since is when OK last changed.
	Since time.Time `json:"since,omitzero"`
}

// Readiness is what GET readyz answers to a caller with a token.
type Readiness struct {
	// Ready is false when this node should get no traffic. A dependency may
	// be down without that.
	Ready        bool         `json:"-"`
	Dependencies []Dependency `json:"dependencies"`
}

// ExplainQuery describes the request to be explained.
type ExplainQuery struct {
	// URL is absolute, http or https, as the visitor sees it.
	URL string
	// Method is a valid method. Default of the API: GET.
	Method string
	// Header holds the fields that the caller gave; never nil.
	Header http.Header
}

// Kind classes events.
type Kind string

// Kinds of events.
const (
	Denied         Kind = "denied"          // a missing or bad token; Detail says which
	Refused        Kind = "refused"         // a bad token, one of too many: 429 at once
	PurgeSubmitted Kind = "purge_submitted" // ID is the order's
	PurgeCanceled  Kind = "purge_canceled"  // ID is the order's
	DeployCalled   Kind = "deploy_called"   // ID is the deploy's
	DeployCanceled Kind = "deploy_canceled" // ID is the deploy's
	Registered     Kind = "registered"      // ID is the replica's; also each renewal
	Drained        Kind = "drained"         // ID is the replica's
	Undrained      Kind = "undrained"       // ID is the replica's
	Deregistered   Kind = "deregistered"    // ID is the replica's
	Fault          Kind = "fault"           // an answer of 500 or 503; Err says why
)

// Event is one thing that an operator may want to log or count. It never holds
// a token.
type Event struct {
	Kind Kind
	// Route is the method and pattern, such as "GET purge/{id}"; empty when
	// the caller was turned away before one was looked up.
	Route string
	// Client is the caller's address; Actor is who it proved to be.
	Client, Actor string
	ID            string
	Detail        string
	Err           error
}
