package caddymodule

import (
	"math"
	"testing"
)

const mib = 1 << 20

func TestTheCollectorIsPacedByABudget(t *testing.T) {
	for name, c := range map[string]struct {
		live, cap int64
		want      int
	}{
		"an empty gateway waits for the most":            {4 * mib, 512 * mib, 1600},
		"nothing known yet":                              {0, 0, 1600},
		"as much alive as the budget: the default":       {64 * mib, 512 * mib, 100},
		"half the budget alive: twice as much allowed":   {32 * mib, 512 * mib, 200},
		"no cache, much alive: a little more":            {1000 * mib, 0, 15},
		"a full cache: the least, a twelfth of the cap":  {512 * mib, 512 * mib, 8},
		"a full cache of 4 GiB is not marked all day":    {4096 * mib, 4096 * mib, 8},
		"a full cache of 16 MiB: the least that is left": {24 * mib, 16 * mib, 133},
	} {
		m := memoryState{live: c.live, cap: c.cap, mapped: c.live + 10*mib, resident: c.live + 50*mib, limit: math.MaxInt64}
		if got := m.budget().percent; got != c.want {
			t.Errorf("%s: GOGC %d: want %d", name, got, c.want)
		}
	}
}

func TestTheLimitLeavesRoomForGarbage(t *testing.T) {
	for name, m := range map[string]memoryState{
		"a full cache":                    {live: 500, mapped: 560, resident: 600, bytes: 480, cap: 512},
		"a full cache and ten thousand":   {live: 900, mapped: 990, resident: 1030, bytes: 480, cap: 512},
		"much more alive than the cap":    {live: 5000, mapped: 5500, resident: 5600, bytes: 60, cap: 64},
		"nothing alive yet":               {live: 4, mapped: 20, resident: 60, cap: 512},
		"a cap of one MiB":                {live: 12, mapped: 30, resident: 70, bytes: 1, cap: 1},
		"all of the resident set outside": {live: 12, mapped: 30, resident: 800, bytes: 1, cap: 512},
	} {
		m.live, m.mapped, m.resident, m.bytes, m.cap = m.live*mib, m.mapped*mib, m.resident*mib, m.bytes*mib, m.cap*mib
		m.limit = math.MaxInt64
		b := m.budget()
		if left, want := b.limit-m.live, max(32*mib, m.live/12); left < want {
			t.Errorf("%s: a limit of %d MiB leaves %d MiB for garbage: want %d at least", name, b.limit/mib, left/mib, want/mib)
		}
		if b.limit < m.cap && m.live < m.cap/2 && m.resident-m.mapped < m.cap/10 {
			t.Errorf("%s: a limit of %d MiB: want the cap at least", name, b.limit/mib)
		}
	}
}

func TestALimitThatWasThereIsKept(t *testing.T) {
	m := memoryState{live: 200 * mib, mapped: 230 * mib, resident: 270 * mib, bytes: 190 * mib, cap: 512 * mib, limit: 300 * mib}
	b := m.budget()
	if b.limit != m.limit {
		t.Errorf("limit of %d MiB: want that of the container, 300", b.limit/mib)
	}
	// 340 MiB are allowed in all, 80 of which are no answers: 260 are left of 512,
	// and a quarter is given up at most.
	if b.yield != 128*mib {
		t.Errorf("%d MiB are given up: want 128", b.yield/mib)
	}
	none := memoryState{live: 200 * mib, mapped: 230 * mib, resident: 270 * mib, limit: 300 * mib}
	if b := none.budget(); b.limit != 300*mib || b.yield != 0 {
		t.Errorf("without a cache: %+v: want what was there", b)
	}
}

func TestTheCacheGivesWay(t *testing.T) {
	// A cap of 500 MiB: 545 are allowed, 9 % more.
	state := func(resident, bytes, yielded int64) memoryState {
		return memoryState{
			live: (bytes + 10) * mib, mapped: (resident - 40) * mib, resident: resident * mib, bytes: bytes * mib,
			cap: 500 * mib, yielded: yielded * mib, limit: math.MaxInt64,
		}
	}
	for name, c := range map[string]struct {
		m    memoryState
		want int64
	}{
		"45 MiB beside the answers fit":                           {state(545, 500, 0), 0},
		"75 do not: 30 of the answers' go":                        {state(575, 500, 0), 30},
		"they go before the cache is full":                        {state(275, 200, 0), 30},
		"never more than a quarter":                               {state(900, 400, 0), 125},
		"more at once":                                            {state(575, 500, 10), 30},
		"as much as before":                                       {state(545, 470, 30), 30},
		"less of it slowly: one part in 64 of what is not needed": {state(515, 470, 64), 63},
	} {
		if got := (c.m.budget().yield + mib/2) / mib; got != c.want {
			t.Errorf("%s: %d MiB: want %d", name, got, c.want)
		}
	}
	m := state(515, 470, 30)
	for range 10_000 {
		m.yielded = m.budget().yield
	}
	if m.yielded != 0 {
		t.Errorf("%d bytes are never taken back", m.yielded)
	}
}

func TestSettingsAreLeftWhenLittleChanges(t *testing.T) {
	for _, c := range []struct {
		a, b int64
		want bool
	}{{100, 100, false}, {100, 95, false}, {95, 100, false}, {100, 80, true}, {80, 100, true}, {0, 100, true}, {0, 0, false}} {
		if got := differs(c.a, c.b, 10); got != c.want {
			t.Errorf("%d and %d: %t", c.a, c.b, got)
		}
	}
}

func TestTheResidentSetIsThatOfTheProcess(t *testing.T) {
	m := measureMemory()
	if m.live < mib/4 || m.mapped < m.live || m.resident < m.mapped {
		t.Errorf("%+v: want each larger than the one before", m)
	}
}
