package autoscale

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Drivers.Register("railway", newRailway, named.Spec{Options: map[string][]string{
		"service": {"1f3c9a5e-0000-4000-8000-000000000001"}, "environment": {"1f3c9a5e-0000-4000-8000-000000000002"},
		"region": {"europe-west4-drams3a"}, "token": {"a-token"},
	}})
}

// railwayAPI is the endpoint of Railway's public API, and railwayMost the number
// of replicas that it takes (docs.railway.com: integrations/api, cli/scale).
const (
	railwayAPI  = "https://backboard.railway.com/graphql/v2"
	railwayMost = 50
)

// railway sets the number of replicas of a service in one region of an
// environment. It reads before it writes: each change makes Railway deploy
// anew, also one that changes nothing.
type railway struct {
	service, environment, region string
	header, token                string
	url                          string
	finish                       bool
	pause                        time.Duration
	client                       *http.Client
}

// newRailway reads
//
//	railway {
//	    service ID
//	    environment ID
//	    region NAME
//	    token TOKEN             # of an account or workspace, or
//	    project_token TOKEN     # of the environment
//	    replicas_finish
//	    pause 2m
//	    api_url URL
//	}
func newRailway(s named.Spec) (Driver, error) {
	errs := s.Want(0, 0, "a block", "service", "environment", "region", "token", "project_token", "replicas_finish", "pause", "api_url")
	w := &railway{client: client()}
	for _, o := range []struct {
		word string
		to   *string
		want string
	}{
		{"service", &w.service, "its id, as the service's variable RAILWAY_SERVICE_ID has it"},
		{"environment", &w.environment, "its id, as the variable RAILWAY_ENVIRONMENT_ID has it"},
		{"region", &w.region, "its name, as the variable RAILWAY_REPLICA_REGION has it"},
	} {
		*o.to = option(s, o.word, "", &errs)
		if _, given := s.Options[o.word]; !given {
			errs = append(errs, fmt.Errorf("railway: no %s: want %s", o.word, o.want))
		}
	}
	w.header, w.token = "Authorization", option(s, "token", "", &errs)
	if w.token != "" {
		w.token = "Bearer " + w.token
	}
	if project := option(s, "project_token", "", &errs); project != "" {
		if w.token != "" {
			errs = append(errs, errors.New("railway: token and project_token: want one of them"))
		}
		w.header, w.token = "Project-Access-Token", project
	}
	if w.token == "" {
		errs = append(errs, errors.New("railway: no token: want token (of an account or workspace) or project_token"))
	}
	if words, given := s.Options["replicas_finish"]; given {
		w.finish = true
		if len(words) > 0 {
			errs = append(errs, fmt.Errorf("railway replicas_finish: spare argument %q: it stands alone", words[0]))
		}
	}
	w.pause = pauseOption(s, "pause", 2*time.Minute, &errs)
	w.url = option(s, "api_url", railwayAPI, &errs)
	if u, err := url.Parse(w.url); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		errs = append(errs, fmt.Errorf("railway api_url %q: want a URL such as %s", w.url, railwayAPI))
	}
	return w, errors.Join(errs...)
}

const (
	railwayRead  = `query environment($id: String!) { environment(id: $id) { config(decryptVariables: false) } }`
	railwayWrite = `mutation environmentPatchCommit($environmentId: String!, $patch: EnvironmentConfig!, $commitMessage: String) { environmentPatchCommit(environmentId: $environmentId, patch: $patch, commitMessage: $commitMessage) }`
)

// railwayConfig is the part of an environment's configuration that matters.
type railwayConfig struct {
	Services map[string]railwayService `json:"services"`
}

type railwayService struct {
	Deploy struct {
		Regions map[string]*railwayRegion `json:"multiRegionConfig,omitempty"`
	} `json:"deploy"`
}

type railwayRegion struct {
	Replicas int `json:"numReplicas"`
}

// Scale sets the number in the region to what is wanted less what other regions
// have.
func (w *railway) Scale(ctx context.Context, o Order) error {
	var environment struct {
		Environment *struct {
			Config railwayConfig `json:"config"`
		} `json:"environment"`
	}
	if err := w.ask(ctx, railwayRead, map[string]any{"id": w.environment}, &environment); err != nil {
		return fmt.Errorf("read the environment: %w", err)
	}
	if environment.Environment == nil {
		return errors.New("railway: no such environment")
	}
	service, found := environment.Environment.Config.Services[w.service]
	if !found {
		return errors.New("railway: the environment has no such service")
	}
	elsewhere := 0
	for name, region := range service.Deploy.Regions {
		if region != nil && name != w.region {
			elsewhere += region.Replicas
		}
	}
	n := max(1, min(o.Replicas, railwayMost)-elsewhere)
	if here := service.Deploy.Regions[w.region]; here != nil && here.Replicas == n {
		return nil
	}
	var patch railwayService
	patch.Deploy.Regions = map[string]*railwayRegion{w.region: {Replicas: n}}
	var committed struct {
		ID string `json:"environmentPatchCommit"`
	}
	err := w.ask(ctx, railwayWrite, map[string]any{
		"environmentId": w.environment,
		"patch":         railwayConfig{Services: map[string]railwayService{w.service: patch}},
		"commitMessage": fmt.Sprintf("edge: %d replicas of pool %s (%s)", n, o.Pool, o.Why),
	}, &committed)
	if err != nil {
		return fmt.Errorf("set the number of replicas: %w", err)
	}
	return nil
}

// ask makes one GraphQL call. An error may come with status 200.
func (w *railway) ask(ctx context.Context, query string, variables map[string]any, into any) error {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("railway: api_url is not right")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "edge-autoscale")
	r.Header.Set(w.header, w.token)
	text, err := send(w.client, r, "railway")
	if err != nil {
		return err
	}
	var answer struct {
		Data   json.RawMessage `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return errors.New("railway: the answer is no JSON")
	}
	if len(answer.Errors) > 0 {
		return fmt.Errorf("railway: %s", printable(answer.Errors[0].Message))
	}
	if len(answer.Data) == 0 || string(answer.Data) == "null" {
		return errors.New("railway: the answer has no data")
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		return errors.New("railway: the answer is of another kind")
	}
	return nil
}

// printable keeps an error of somebody else short and on one line.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

// Lowers: Railway picks who ends. edge cannot drain it before.
func (w *railway) Lowers() Lowering {
	if w.finish {
		return LowersBlindly
	}
	return LowersNever
}

func (w *railway) Pause() time.Duration { return w.pause }
