package packaging

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// railway is what Railway's schema knows of what we use. Its numbers are numbers: a
// deploy with "30" fails before it starts.
type railway struct {
	Schema string `json:"$schema"`
	Build  struct {
		Builder        string   `json:"builder"`
		DockerfilePath string   `json:"dockerfilePath"`
		WatchPatterns  []string `json:"watchPatterns"`
	} `json:"build"`
	Deploy struct {
		NumReplicas        int    `json:"numReplicas"`
		HealthcheckPath    string `json:"healthcheckPath"`
		HealthcheckTimeout int    `json:"healthcheckTimeout"`
		RequiredMountPath  string `json:"requiredMountPath"`
		OverlapSeconds     int    `json:"overlapSeconds"`
		DrainingSeconds    int    `json:"drainingSeconds"`
		RestartPolicyType  string `json:"restartPolicyType"`
	} `json:"deploy"`
}

func railwayOf(t *testing.T, name string) (r railway) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(read(t, "railway/"+name)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r
}

func TestRailwayBuildsAndEndsTheImageInTime(t *testing.T) {
	end := ending(t, adapted(t, caddyfileOfImage, imageEnv(t)))
	for _, name := range []string{"railway.json", "volume.json"} {
		r := railwayOf(t, name)
		if r.Build.Builder != "DOCKERFILE" || filepath.Join("packaging", dockerfile) != r.Build.DockerfilePath {
			t.Errorf("%s builds %+v", name, r.Build)
		}
		for _, pattern := range r.Build.WatchPatterns {
			found, err := filepath.Glob(filepath.Join("..", strings.TrimSuffix(pattern, "/**")))
			if err != nil || len(found) == 0 {
				t.Errorf("%s: nothing is called %s: %v", name, pattern, err)
			}
		}
		if d := time.Duration(r.Deploy.DrainingSeconds) * time.Second; d < end+10*time.Second {
			t.Errorf("%s: drains %s, and edge may take %s", name, d, end)
		}
		if p := r.Deploy.HealthcheckPath; p != "/.edge/readyz" {
			t.Errorf("%s: health check %s: want the path that TestTheImageServes asks for", name, p)
		}
		if p := r.Deploy.RestartPolicyType; p != "ALWAYS" {
			t.Errorf("%s: restarts %s: want ALWAYS", name, p)
		}
	}
}

// A volume can be mounted by one deployment at a time.
func TestRailwayOverlapsWithoutAVolumeOnly(t *testing.T) {
	if d := railwayOf(t, "railway.json").Deploy; d.OverlapSeconds < 30 || d.RequiredMountPath != "" {
		t.Errorf("railway.json: %+v: want an overlap and no volume", d)
	}
	d := railwayOf(t, "volume.json").Deploy
	if _, there := inspect(t, imageName).Docker.Config.Volumes[d.RequiredMountPath]; d.OverlapSeconds != 0 || !there || d.NumReplicas != 1 {
		t.Errorf("volume.json: %+v: want the image's volume, one replica and no overlap", d)
	}
}
