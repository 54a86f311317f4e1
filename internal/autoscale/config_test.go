package autoscale

import (
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

func units(d time.Duration) unit.Duration { return unit.Duration(d) }

func TestMistakesAreNamedAllAtOnce(t *testing.T) {
	bad := Config{
		Min: 5, Max: 2, Target: -1, Window: units(time.Millisecond), Up: units(-time.Second), Down: units(2 * time.Hour), Tolerance: 1.5,
	}
	err := bad.Validate(100)
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, want := range []string{
		"autoscale min 5: want at most max, 2",
		"autoscale target -1: want a number from 1 to 1000000",
		"autoscale window 1ms: want a duration from 1s to 1h",
		"autoscale up -1s: want a duration of at most 1h",
		"autoscale down 2h: want a duration of at most 1h",
		"autoscale tolerance 1.5: want a share below 1, such as 10%",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	if err := (Config{}).Validate(-1); err != nil {
		t.Errorf("the zero value of a pool without limit: %v", err)
	}
	err = Config{Driver: named.Spec{Name: "process"}}.Validate(-1)
	if err == nil || !strings.Contains(err.Error(), "want target") {
		t.Errorf("a driver and nothing to reckon with: %v", err)
	}
}
