package control

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/unit"
)

const (
	// defaultTimeout is how long replicas may take to run a version.
	defaultTimeout = 10 * time.Minute
	maxTimeout     = 24 * time.Hour
	// maxRetire is far above the versions that anything may still hold.
	maxRetire = 100
	maxReason = 500
)

// DeployRequest is the body of POST deploy.
type DeployRequest struct {
	// Version is what every replica is to run. Required.
	Version string `json:"version"`
	// Pool names the pool. Default: the only one that reads versions.
	Pool string `json:"pool,omitempty"`
	// Retire are versions to be purged besides those that the gateway has seen.
	Retire []string `json:"retire,omitempty"`
	// Timeout is how long the replicas may take. Default: 10m.
	Timeout unit.Duration `json:"timeout,omitempty"`
	// Warm lists URLs to be fetched when what it retires is purged.
	Warm []string `json:"warm,omitempty"`
	// Reason is for people.
	Reason string `json:"reason,omitempty"`
	// DespiteGuard lets the version become current though the guard found it
	// worse, or finds it so later.
	DespiteGuard bool `json:"despite_guard,omitempty"`
	// DryRun says what would be purged, and does nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// IdempotencyKey may be given here or as the field Idempotency-Key.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

func (r DeployRequest) check() error {
	var mistakes []Mistake
	if r.Version == "" {
		mistakes = append(mistakes, Mistake{"version", "", "the version that every replica is to run"})
	}
	if r.Timeout < 0 || r.Timeout.D() > maxTimeout {
		mistakes = append(mistakes, Mistake{"timeout", r.Timeout.String(), "a duration of at most 24h, such as 10m"})
	}
	if len(r.Retire) > maxRetire {
		mistakes = append(mistakes, Mistake{"retire", fmt.Sprint(len(r.Retire)), "at most 100 versions"})
	}
	if len(r.Reason) > maxReason {
		mistakes = append(mistakes, Mistake{"reason", shorten(r.Reason), "at most 500 bytes"})
	}
	if len(mistakes) > 0 {
		return invalid(http.StatusUnprocessableEntity, mistakes...)
	}
	return nil
}

func (c *call) submitDeploy() error {
	var request DeployRequest
	if err := c.readBody(MaxBody, &request); err != nil {
		return err
	}
	key, err := c.idempotencyKey(request.IdempotencyKey)
	if err != nil {
		return err
	}
	if err := request.check(); err != nil {
		return err
	}
	record, err := c.gateway.Deploy(c.r.Context(), deploy.Call{
		Pool: request.Pool, Version: request.Version, Retire: request.Retire, Timeout: request.Timeout.Or(defaultTimeout),
		Warm: request.Warm, Reason: request.Reason, Actor: c.actor + " from " + c.client, IdempotencyKey: key, DryRun: request.DryRun, DespiteGuard: request.DespiteGuard,
	})
	if err != nil {
		return err
	}
	if request.DryRun {
		return c.answer(http.StatusOK, record)
	}
	c.report(Event{Kind: DeployCalled, ID: record.ID, Detail: shorten(record.Pool + " " + record.Version)})
	c.w.Header().Set("Location", "deploys/"+url.PathEscape(record.ID))
	return c.answer(http.StatusAccepted, record)
}

func (c *call) listDeploys() error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	records := c.gateway.Deploys(c.query.Get("pool"), limit)
	if records == nil {
		records = []deploy.Record{}
	}
	return c.answer(http.StatusOK, map[string]any{"deploys": records, "pools": c.gateway.Versions()})
}

func (c *call) getDeploy() error {
	record, ok, err := awaited(c, c.gateway.Deployed, c.gateway.WaitDeploy, func(r deploy.Record) bool { return r.Stage.Final() })
	switch {
	case err != nil:
		return err
	case !ok:
		return unknownDeploy(c.id)
	}
	return c.answer(http.StatusOK, record)
}

func (c *call) cancelDeploy() error {
	if err := c.gateway.CancelDeploy(c.id); err != nil {
		return err
	}
	c.report(Event{Kind: DeployCanceled, ID: c.id})
	record, ok := c.gateway.Deployed(c.id)
	if !ok {
		return unknownDeploy(c.id)
	}
	return c.answer(http.StatusOK, record)
}

func unknownDeploy(id string) error {
	return fmt.Errorf("deploy %q: %w", shorten(id), deploy.ErrUnknown)
}
