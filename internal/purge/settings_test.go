package purge

import (
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

func TestADeadlineThatThePausesUseUp(t *testing.T) {
	seconds := func(n int) unit.Duration { return unit.Duration(time.Duration(n) * time.Second) }
	for name, c := range map[string]struct {
		s    Settings
		want string // in the error; "" for none
	}{
		"the defaults":               {Settings{}, ""},
		"as long as both pauses":     {Settings{Deadline: seconds(40)}, "deadline 40s: want more than 40s"}, // 10 s and 30 s
		"a moment longer":            {Settings{Deadline: seconds(41)}, ""},
		"shorter, with short pauses": {Settings{Deadline: seconds(6), DrainCap: seconds(1), Settle: seconds(1), SettleEverything: seconds(2)}, ""},
		"the longer pause counts":    {Settings{Deadline: seconds(6), DrainCap: seconds(1), Settle: seconds(5), SettleEverything: seconds(2)}, "want more than 6s"},
	} {
		err := c.s.Validate()
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v: want %q", name, err, c.want)
		}
	}
}
