package autoscale

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
)

const (
	railwayToken = "7b1c2f90-project-or-account"
	aService     = "1f3c9a5e-0000-4000-8000-000000000001"
	aEnvironment = "1f3c9a5e-0000-4000-8000-000000000002"
)

// standin answers as Railway's public API does to the two calls that we make,
// and refuses what it refuses: another path or method, no JSON, fields that the
// call does not have, variables that are missing or of another type, ids that it
// does not know, a wrong token, more replicas than it takes. As there, most
// errors come with status 200.
type standin struct {
	header, token string
	regions       map[string]int
	commits       []string // messages
	calls         int
	limited       bool
}

type graphQL struct {
	Query     string                     `json:"query"`
	Variables map[string]json.RawMessage `json:"variables"`
}

var graphQLCall = regexp.MustCompile(`^(query|mutation) \w+\(([^)]*)\) \{ (\w+)\(([^)]*)\)( \{ config\(decryptVariables: false\) \})? \}$`)

func (s *standin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls++
	if s.limited {
		w.Header().Set("Retry-After", "120")
		w.Header().Set("X-RateLimit-Remaining", "0")
		http.Error(w, "rate limited", http.StatusTooManyRequests)
		return
	}
	if r.URL.Path != "/graphql/v2" || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "want JSON", http.StatusUnsupportedMediaType)
		return
	}
	var call graphQL
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&call); err != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	data, err := s.answer(r, call)
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]any{"data": data}
	if err != nil {
		answer = map[string]any{"data": nil, "errors": []any{map[string]any{"message": err.Error(), "extensions": map[string]any{"code": "INTERNAL_SERVER_ERROR"}}}}
	}
	_ = json.NewEncoder(w).Encode(answer) // The test sees what is missing.
}

func (s *standin) answer(r *http.Request, call graphQL) (any, error) {
	parts := graphQLCall.FindStringSubmatch(call.Query)
	if parts == nil {
		return nil, fmt.Errorf("Syntax Error in %q", call.Query)
	}
	if r.Header.Get(s.header) != s.token {
		return nil, errors.New("Not Authorized")
	}
	for name := range call.Variables {
		if !strings.Contains(parts[2], "$"+name+":") || !strings.Contains(parts[4], "$"+name) {
			return nil, fmt.Errorf("Variable $%s is not defined", name)
		}
	}
	text := func(name string) string {
		var value string
		_ = json.Unmarshal(call.Variables[name], &value) // Empty is refused below.
		return value
	}
	switch parts[1] + " " + parts[3] {
	case "query environment":
		if text("id") != aEnvironment || parts[5] == "" {
			return nil, errors.New("Problem processing request")
		}
		regions := map[string]any{}
		for name, n := range s.regions {
			regions[name] = map[string]any{"numReplicas": n}
		}
		return map[string]any{"environment": map[string]any{"config": map[string]any{"services": map[string]any{
			aService: map[string]any{"deploy": map[string]any{"multiRegionConfig": regions, "startCommand": "node server.js"}},
		}}}}, nil
	case "mutation environmentPatchCommit":
		return s.commit(text("environmentId"), text("commitMessage"), call.Variables["patch"])
	}
	return nil, fmt.Errorf("Cannot query field %q", parts[3])
}

func (s *standin) commit(environment, message string, patch json.RawMessage) (any, error) {
	var config struct {
		Services map[string]struct {
			Deploy struct {
				Regions map[string]struct {
					Replicas *int `json:"numReplicas"`
				} `json:"multiRegionConfig"`
			} `json:"deploy"`
		} `json:"services"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(patch)))
	decoder.DisallowUnknownFields()
	service, known := config.Services[aService], false
	if err := decoder.Decode(&config); err == nil {
		service, known = config.Services[aService]
	}
	if environment != aEnvironment || !known || len(config.Services) != 1 {
		return nil, errors.New("Problem processing request")
	}
	next := map[string]int{}
	total := 0
	for name, n := range s.regions {
		next[name] = n
	}
	for name, region := range service.Deploy.Regions {
		if _, there := next[name]; !there || region.Replicas == nil || *region.Replicas < 0 {
			return nil, errors.New("Problem processing request")
		}
		next[name] = *region.Replicas
	}
	for _, n := range next {
		total += n
	}
	if total > 50 {
		return nil, errors.New("Maximum number of replicas exceeded")
	}
	s.regions = next
	s.commits = append(s.commits, message)
	return map[string]any{"environmentPatchCommit": fmt.Sprintf("patch-%d", len(s.commits))}, nil
}

func newStandin(t *testing.T, regions map[string]int) (*standin, string) {
	t.Helper()
	s := &standin{header: "Authorization", token: "Bearer " + railwayToken, regions: regions}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL + "/graphql/v2"
}

func railwayDriver(t *testing.T, url string, options ...string) Driver {
	t.Helper()
	s := named.Spec{Name: "railway", Options: map[string][]string{
		"service": {aService}, "environment": {aEnvironment}, "region": {"europe-west4"}, "token": {railwayToken}, "api_url": {url},
	}}
	for i := 0; i+1 < len(options); i += 2 {
		switch {
		case options[i+1] == "-":
			delete(s.Options, options[i])
		case options[i+1] == "":
			s.Options[options[i]] = nil
		default:
			s.Options[options[i]] = []string{options[i+1]}
		}
	}
	d, err := newRailway(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func order(n int) Order { return Order{ID: "edge_1", Pool: "app", Replicas: n, Why: More} }

func TestRailwaySetsTheNumberOnce(t *testing.T) {
	s, url := newStandin(t, map[string]int{"europe-west4": 1})
	d := railwayDriver(t, url)
	for range 3 {
		if err := d.Scale(t.Context(), order(4)); err != nil {
			t.Fatal(err)
		}
	}
	if s.regions["europe-west4"] != 4 || len(s.commits) != 1 {
		t.Errorf("%v, %d commits: want 4 by one: each makes it deploy", s.regions, len(s.commits))
	}
	if s.commits[0] != "edge: 4 replicas of pool app (more)" {
		t.Errorf("commit message %q", s.commits[0])
	}
}

func TestRailwayCountsOtherRegions(t *testing.T) {
	s, url := newStandin(t, map[string]int{"europe-west4": 1, "us-east4": 2})
	d := railwayDriver(t, url)
	for wanted, here := range map[int]int{6: 4, 1: 1, 900: 48} {
		if err := d.Scale(t.Context(), order(wanted)); err != nil {
			t.Fatal(err)
		}
		if s.regions["europe-west4"] != here || s.regions["us-east4"] != 2 {
			t.Errorf("%d wanted: %v: want %d here, and the others left alone", wanted, s.regions, here)
		}
	}
}

func TestRailwayTokens(t *testing.T) {
	s, url := newStandin(t, map[string]int{"europe-west4": 1})
	s.header, s.token = "Project-Access-Token", "of-the-project"
	if err := railwayDriver(t, url, "token", "-", "project_token", "of-the-project").Scale(t.Context(), order(2)); err != nil {
		t.Errorf("project token: %v", err)
	}
	err := railwayDriver(t, url).Scale(t.Context(), order(3))
	if err == nil || !strings.HasSuffix(err.Error(), "railway: Not Authorized") || strings.Contains(err.Error(), railwayToken) {
		t.Errorf("another token: %v: want what Railway says", err)
	}
}

func TestRailwayErrors(t *testing.T) {
	s, url := newStandin(t, map[string]int{"europe-west4": 1})
	for name, c := range map[string]struct {
		options []string
		want    string
	}{
		"unknown service":     {[]string{"service", "nope"}, "railway: the environment has no such service"},
		"unknown environment": {[]string{"environment", "nope"}, "read the environment: railway: Problem processing request"},
		"unknown region":      {[]string{"region", "mars-1"}, "set the number of replicas: railway: Problem processing request"},
		"another path":        {[]string{"api_url", strings.TrimSuffix(url, "/v2")}, "read the environment: railway: status 404 Not Found"},
	} {
		if err := railwayDriver(t, url, c.options...).Scale(t.Context(), order(3)); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v: want %q", name, err, c.want)
		}
	}
	if len(s.commits) != 0 {
		t.Errorf("%v: want nothing changed", s.commits)
	}
	s.limited = true
	var later *Later
	if err := railwayDriver(t, url).Scale(t.Context(), order(3)); !errors.As(err, &later) || later.After != 2*time.Minute {
		t.Errorf("rate limited: %v: want to come again after two minutes", err)
	}
	for body, want := range map[string]string{
		"<html>":        "railway: the answer is no JSON",
		"{}":            "railway: the answer has no data",
		`{"data":null}`: "railway: the answer has no data",
		`{"data":[1]}`:  "railway: the answer is of another kind",
		`{"data":{}}`:   "railway: no such environment",
		`{"errors":[{"message":"a\u001b[31m\nb"}]}`: "railway: a [31m b",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		if err := railwayDriver(t, server.URL).Scale(t.Context(), order(3)); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v: want %q", body, err, want)
		}
		server.Close()
	}
}

func TestRailwayLowersOnlyIfSomebodyVouches(t *testing.T) {
	_, url := newStandin(t, nil)
	if got := railwayDriver(t, url).Lowers(); got != LowersNever {
		t.Errorf("lowers %d: want never", got)
	}
	if got := railwayDriver(t, url, "replicas_finish", "").Lowers(); got != LowersBlindly {
		t.Errorf("with replicas_finish, lowers %d: want blindly", got)
	}
}

func TestRailwayWords(t *testing.T) {
	_, err := newRailway(named.Spec{Name: "railway", Options: map[string][]string{
		"region": {"a", "b"}, "token": {"t"}, "project_token": {"p"}, "replicas_finish": {"yes"}, "pause": {"never"}, "api_url": {"backboard"}, "replicas": {"3"},
	}})
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, want := range []string{
		`unknown word "replicas"`, "railway: no service: want its id", "railway: no environment: want its id", "railway region: got 2 words: want one",
		"railway: token and project_token: want one of them", `replicas_finish: spare argument "yes"`, `railway pause: "never": want a duration`, `railway api_url "backboard": want a URL`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	if _, err := newRailway(named.Spec{Name: "railway"}); err == nil || !strings.Contains(err.Error(), "railway: no token") {
		t.Errorf("without a token: %v", err)
	}
}
