package purge

import (
	"encoding/json"
	"math"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// remains is what is left of a bucket, at some moment.
type remains struct {
	Tokens float64       `json:"tokens"`
	Held   unit.Duration `json:"held,omitempty"`
}

// leftovers are an account's.
type leftovers struct {
	Calls remains `json:"calls"`
	Flex  remains `json:"flex"`
	URLs  remains `json:"urls"`
}

// Left is what is left of the account's limits, for another process.
func (t *cloudflare) Left() []byte {
	now, a := time.Now(), t.account
	text, err := json.Marshal(leftovers{a.calls.left(now), a.flex.left(now), a.urls.left(now)})
	if err != nil {
		return nil // a limit that is no number, which none of ours is
	}
	return text
}

// Inherit lowers the account's limits to what another process had left of them
// some time ago. What cannot be read says nothing.
func (t *cloudflare) Inherit(text []byte, ago time.Duration) {
	var l leftovers
	if json.Unmarshal(text, &l) != nil {
		return
	}
	now, a := time.Now(), t.account
	a.calls.inherit(now, l.Calls, ago)
	a.flex.inherit(now, l.Flex, ago)
	a.urls.inherit(now, l.URLs, ago)
}

func (b *bucket) left(now time.Time) remains {
	b.mu.Lock()
	defer b.mu.Unlock()
	return remains{Tokens: b.limiter.TokensAt(now), Held: unit.Duration(max(0, b.held.Sub(now)))}
}

// inherit never raises what this process has left itself.
func (b *bucket) inherit(now time.Time, r remains, ago time.Duration) {
	if shut := r.Held.D() - ago; shut > 0 {
		b.hold(now, shut)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	burst := b.limiter.Burst()
	// A debt of more than all there is cannot be told from a mistake.
	level := max(r.Tokens, float64(-burst)) + ago.Seconds()*float64(b.limiter.Limit())
	for spend := int(math.Ceil(b.limiter.TokensAt(now) - level)); spend > 0; spend -= burst {
		b.limiter.ReserveN(now, min(spend, burst))
	}
}
