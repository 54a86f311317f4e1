package packaging

import (
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// filledIn is env.example with its blanks filled in.
func filledIn(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ".env")
	text := read(t, "compose/env.example")
	for strings.Contains(text, "=REPLACE\n") {
		text = strings.Replace(text, "=REPLACE\n", "="+rand.Text()+"\n", 1)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loadCompose is the project as docker compose reads it.
func loadCompose(t *testing.T, envFile string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"compose/compose.yaml"}, cli.WithEnvFiles(envFile), cli.WithDotEnv)
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

func composed(t *testing.T) *types.Project {
	t.Helper()
	p, err := loadCompose(t, filledIn(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeWantsItsSecrets(t *testing.T) {
	empty := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadCompose(t, empty); err == nil {
		t.Error("no token, no password, and the project is loaded")
	}
}

func TestComposeMountsWhatIsThere(t *testing.T) {
	for name, service := range composed(t).Services {
		for _, v := range service.Volumes {
			if v.Type != types.VolumeTypeBind || v.Target == "/var/backups/edge" {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s: %s, read only %t: %v", name, v.Source, v.ReadOnly, err)
			}
		}
		if b := service.Build; b != nil {
			if _, err := os.Stat(filepath.Join(b.Context, b.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Only edge's sites are for everybody, and the port for the private network for nobody.
func TestComposePublishesSitesOnly(t *testing.T) {
	for name, service := range composed(t).Services {
		for _, p := range service.Ports {
			if site := name == "edge" && (p.Target == 8080 || p.Target == 8443); !site && p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %d at %q", name, p.Target, p.HostIP)
			}
		}
	}
}

// environment is what a service's containers see, with the image's part of it.
func environment(t *testing.T, service types.ServiceConfig) []string {
	t.Helper()
	env := []string{"EDGE_STATE_DIR=" + t.TempDir()}
	for name, value := range service.Environment {
		env = append(env, name+"="+*value)
	}
	return env
}

func TestComposeRunsAValidGateway(t *testing.T) {
	p := composed(t)
	gateway := p.Services["edge"]
	env := append(environment(t, gateway), "EDGE_BACKUP_KEY="+newKey(t))
	if _, errs, code := edge(t, env, "validate", "--config", caddyfileOfImage); code != 0 {
		t.Errorf("validate: exit %d\n%s", code, errs)
	}
	c := adapted(t, caddyfileOfImage, env)
	if end := ending(t, c); gateway.StopGracePeriod == nil || float64(*gateway.StopGracePeriod) < 1.2*float64(end) {
		t.Errorf("stop_grace_period %v: edge may take %s", gateway.StopGracePeriod, end)
	}
	discover := c.Apps.Edge.Pools["app"].Discover[0]
	host, port, _ := strings.Cut(discover.Args[0], ":")
	for _, colour := range []string{"blue", "green"} {
		app := p.Services[colour]
		if network := app.Networks["inside"]; network == nil || !slices.Contains(network.Aliases, host) {
			t.Errorf("%s is not called %s, where edge looks for it", colour, host)
		}
		if i := slices.Index(app.Command, "--listen"); i < 0 || app.Command[i+1] != ":"+port {
			t.Errorf("%s runs %q: edge calls port %s", colour, app.Command, port)
		}
		if !slices.Contains(slices.Collect(maps.Keys(gateway.Networks)), "inside") {
			t.Error("edge is not on the replicas' network")
		}
	}
	if *p.Services["blue"].Deploy.Replicas < 2 {
		t.Error("blue: want several replicas")
	}
	host, port, _ = strings.Cut(strings.TrimSuffix(strings.TrimPrefix(*gateway.Environment["EDGE_REDIS"], "redis://"), "/0"), ":")
	if _, there := p.Services[host]; !there || port != "6379" {
		t.Errorf("the fleet's Redis %s:%s is not among the services", host, port)
	}
}

func newKey(t *testing.T) string {
	t.Helper()
	out, errs, code := edge(t, nil, "backup", "--new-key")
	at := strings.Index(out, "AGE-SECRET-KEY-1")
	if code != 0 || at < 0 {
		t.Fatalf("new key: exit %d\n%s%s", code, out, errs)
	}
	return strings.TrimSpace(out[at:])
}

// mounted puts a service's read-only files where its containers see them, below a root.
func mounted(t *testing.T, service types.ServiceConfig) string {
	t.Helper()
	root := t.TempDir()
	for _, v := range service.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		to := filepath.Join(root, v.Target)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(read(t, v.Source)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPrometheusTakesItsConfiguration(t *testing.T) {
	p := composed(t)
	prometheus := p.Services["prometheus"]
	root := mounted(t, prometheus)
	var path string
	for _, word := range prometheus.Command {
		if file, found := strings.CutPrefix(word, "--config.file="); found {
			path = file
		}
	}
	out, err := exec.Command("promtool", "check", "config", filepath.Join(root, path)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "rules found") {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	var config struct {
		ScrapeConfigs []struct {
			JobName string `json:"job_name"`
			DNS     []struct {
				Names []string
				Port  int
			} `json:"dns_sd_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(root, path))), &config); err != nil {
		t.Fatal(err)
	}
	job := config.ScrapeConfigs[0]
	listens := adapted(t, caddyfileOfImage, imageEnv(t)).listens()
	if _, there := p.Services[job.DNS[0].Names[0]]; !there || job.JobName != "edge" || !slices.Contains(listens, fmt.Sprintf(":%d", job.DNS[0].Port)) {
		t.Errorf("%+v: want the job edge, of a service, at one of %q", job, listens)
	}
}

func TestGrafanaFindsPrometheusAndTheDashboard(t *testing.T) {
	p := composed(t)
	grafana := p.Services["grafana"]
	root := mounted(t, grafana)
	var sources struct {
		APIVersion  int `json:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool
		}
	}
	var dashboards struct {
		APIVersion int `json:"apiVersion"`
		Providers  []struct {
			Name, Type      string
			DisableDeletion bool
			Options         struct{ Path string }
		}
	}
	for path, to := range map[string]any{"datasources": &sources, "dashboards": &dashboards} {
		if err := yaml.UnmarshalStrict([]byte(read(t, filepath.Join(root, "etc/grafana/provisioning", path, "edge.yaml"))), to); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	if s := sources.Datasources[0]; s.URL != "http://prometheus:9090" || !s.IsDefault || s.Type != "prometheus" {
		t.Errorf("%+v: want the service prometheus", s)
	}
	home := *grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if filepath.Dir(home) != dashboards.Providers[0].Options.Path || !strings.Contains(read(t, filepath.Join(root, home)), `"uid": "edge"`) {
		t.Errorf("%s is no dashboard in %s", home, dashboards.Providers[0].Options.Path)
	}
}
