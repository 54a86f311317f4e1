package lb

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/named"
)

func TestLookUpFindsReplicasOnce(t *testing.T) {
	list := filepath.Join(t.TempDir(), "replicas")
	if err := os.WriteFile(list, []byte("10.0.0.7:3000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found, err := LookUp(ctx, []named.Spec{
		{Name: "static", Args: []string{"127.0.0.1:3000", "127.0.0.1:3001"}}, {Name: "file", Args: []string{list}},
		{Name: "process", Args: []string{"/bin/false"}}, {Name: "file", Args: []string{list + ".missing"}},
	})
	if got := len(found); got != 3 || found[2] != "10.0.0.7:3000" {
		t.Errorf("found %v: want the two written down and the file's", found)
	}
	if err == nil || !strings.Contains(err.Error(), "discover file: ") || strings.Contains(err.Error(), "process") {
		t.Errorf("error %v: want it to name the file that is not there", err)
	}
}

// speechless finds nothing and says nothing.
type speechless struct{}

func (speechless) Run(ctx context.Context, _ Feed) { <-ctx.Done() }

func TestLookUpDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if set, err := once(ctx, speechless{}); err == nil || set != nil {
			t.Errorf("got %v, %v: want an error", set, err)
		}
	})
}
