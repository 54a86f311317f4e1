package packaging

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const caddyfileOfImage = "docker/conf/Caddyfile"

// token lets the test control its gateways.
var token = rand.Text()

// edge runs the image's program here.
func edge(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	c := exec.Command(image.edge, args...)
	c.Env = append(env, "HOME="+t.TempDir())
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// imageEnv is the least that the image's configuration wants to know.
func imageEnv(t *testing.T) []string {
	t.Helper()
	return []string{"APP_ADDRESS=localhost:3000", "EDGE_TOKEN=" + token, "EDGE_STATE_DIR=" + t.TempDir()}
}

// configuration is what the tests look at of an adapted Caddyfile.
type configuration struct {
	Apps struct {
		Edge struct {
			Cache struct{ Memory string }
			Pools map[string]struct {
				Discover []struct {
					Name    string
					Args    []string
					Options map[string][]string
				}
				Health    struct{ Path string }
				Autoscale struct{ Min, Max, Target int }
			}
			Fleet *struct{ URL string }
			Stop  struct{ Announce, Window string }
		}
		HTTP struct {
			GracePeriod time.Duration `json:"grace_period"`
			Servers     map[string]struct{ Listen []string }
		}
	}
}

func adapted(t *testing.T, path string, env []string) (c configuration) {
	t.Helper()
	out, errs, code := edge(t, env, "adapt", "--config", path)
	if code != 0 {
		t.Fatalf("adapt %s: exit %d\n%s", path, code, errs)
	}
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// ending is how long a gateway takes to its end at most.
func ending(t *testing.T, c configuration) time.Duration {
	t.Helper()
	stop := c.Apps.Edge.Stop
	all := c.Apps.HTTP.GracePeriod
	for _, text := range []string{stop.Announce, stop.Window} {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		all += d
	}
	if c.Apps.HTTP.GracePeriod == 0 {
		t.Fatal("no grace_period: nothing ends")
	}
	return all
}

// listens are the ports of all sites.
func (c configuration) listens() (ports []string) {
	for _, server := range c.Apps.HTTP.Servers {
		ports = append(ports, server.Listen...)
	}
	return ports
}

// Each part is one that edge takes, with the variables that it names at its top.
func TestEveryPartOfTheImagesConfigurationIsValid(t *testing.T) {
	secret := newKey(t)
	parts := map[string][]string{
		"EDGE_NODES=one":      nil,
		"EDGE_NODES=fleet":    {"EDGE_REDIS=redis://redis:6379/0", "EDGE_REDIS_PASSWORD=" + rand.Text()},
		"EDGE_CDN=none":       nil,
		"EDGE_CDN=cloudflare": {"CLOUDFLARE_ZONE_ID=023e105f4ecef8ad9ca31a8372d0c353", "CLOUDFLARE_API_TOKEN=" + rand.Text()},
		"EDGE_BACKUP=none":    nil,
		"EDGE_BACKUP=folder":  {"EDGE_BACKUP_KEY=" + secret},
		"EDGE_BACKUP=s3":      {"BACKUP_TO=s3://backups/crm", "BACKUP_ENDPOINT=http://127.0.0.1:9", "BACKUP_ACCESS_KEY=" + rand.Text(), "BACKUP_SECRET_KEY=" + rand.Text(), "EDGE_BACKUP_KEY=" + secret},
		"SITE_ADDRESS=a.test": nil,
		"TRUSTED_PROXIES=private_ranges 100.64.0.0/10": nil,
	}
	for part, needs := range parts {
		env := append(imageEnv(t), part)
		if _, errs, code := edge(t, append(env, needs...), "validate", "--config", caddyfileOfImage); code != 0 {
			t.Errorf("%s: exit %d\n%s", part, code, errs)
		}
		if len(needs) == 0 {
			continue
		}
		if out, errs, code := edge(t, env, "check", "--config", caddyfileOfImage); code == 0 {
			t.Errorf("%s without %q: exit 0\n%s%s", part, needs, out, errs)
		}
	}
	for _, folder := range []string{"nodes", "cdn", "backup"} {
		files, err := os.ReadDir("docker/conf/" + folder)
		if err != nil {
			t.Fatal(err)
		}
		kind := "EDGE_" + strings.ToUpper(folder)
		for _, file := range files {
			name := file.Name()
			if _, tested := parts[kind+"="+name]; !tested {
				t.Errorf("%s=%s is not tested", kind, name)
			}
		}
	}
}
