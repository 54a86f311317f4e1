package lb

import (
	"fmt"
	"net/http"
)

// Prospect is where a pool would send a request now, for people.
type Prospect struct {
	Replica string `json:"replica,omitempty"` // "" when nobody would get it
	Address string `json:"address,omitempty"`
	Why     string `json:"why"`
}

// Prospect says which replica would get r now, and why. It takes no slot and
// moves nobody's turn; the next request may go elsewhere all the same.
func (p *Pool) Prospect(r *http.Request) Prospect {
	v := p.view.Load()
	if v == nil {
		return Prospect{Why: "the pool is closed"}
	}
	x := exchange{pool: p, view: v, in: r}
	x.look()
	for x.level = strict; x.level < lenienceEnd; x.level++ {
		if i, why := x.foresee(); i >= 0 {
			m := x.view.members[i]
			return Prospect{Replica: m.id, Address: string(m.address), Why: why}
		}
		if x.somebody() {
			return Prospect{Why: "every replica that takes requests is full: it would wait for one"}
		}
	}
	return Prospect{Why: "no replica takes requests: it would wait for one"}
}

// foresee is what take would pick, and why.
func (x *exchange) foresee() (i int, why string) {
	if i := x.dueProbe(); i >= 0 {
		return i, "its breaker lets one request through, to see"
	}
	if i = unmoved(x.view.settings.policy).Pick(x); i < 0 {
		return i, ""
	}
	why = x.view.settings.Policy.String()
	switch x.view.settings.Policy.Name {
	case "least_time":
		why += fmt.Sprintf(": one more request should take %.1f ms there", x.Cost(i))
	case "least_conn":
		why += fmt.Sprintf(": %d in flight there", x.Load(i))
	default:
		ups := 0
		for k := range x.Len() {
			if x.Up(k) {
				ups++
			}
		}
		why += fmt.Sprintf(": one of %d that may have it", ups)
	}
	if x.level > strict {
		why = "nobody is in good standing, so all are tried; " + why
	}
	return i, why
}

// unmoved is a policy whose picks move nobody's turn.
func unmoved(p Policy) Policy {
	turns, ok := p.(*roundRobin)
	if !ok {
		return p
	}
	look := new(roundRobin)
	look.turn.Store(turns.turn.Load())
	return look
}
