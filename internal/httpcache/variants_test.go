package httpcache

import (
	"fmt"
	"testing"
)

// The page that everybody gets stays, whatever values somebody makes up for a
// field by which it varies.
func TestMadeUpVariantsDoNotPushOutTheOneInUse(t *testing.T) {
	for name, repeat := range map[string]int{"each once": 1, "each twice": 2} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, "Cache-Control: max-age=600", "Vary: Accept-Language")
			w.get(site, "Accept-Language: de")
			for i := range 4 * maxVariants {
				for range repeat {
					w.get(site, fmt.Sprintf("Accept-Language: x-%d", i))
				}
				if i%(maxVariants/2) == 0 {
					w.get(site, "Accept-Language: de").wants(t, StatusHit, 200, "hello")
				}
			}
			w.get(site, "Accept-Language: de").wants(t, StatusHit, 200, "hello")
			if n := w.h.Store.Stats().Entries; n != maxVariants {
				t.Errorf("%s: %d entries: want %d", name, n, maxVariants)
			}
		})
	}
}
