package httpcache

// useLocked notes that a stored answer was found for a request.
func (sh *shard) useLocked(e *entry) {
	sh.events++
	e.uses++
	e.lastUsed = sh.events
}

// leastUseful is the index of the variant that makes room for another: one
// that nobody came back for, if there is one, else any; of these the one that
// was used longest ago. By age alone, a visitor who makes up values of a field
// that the page varies by could push out what all others get.
func (g *group) leastUseful() int {
	worst := 0
	for i, e := range g.variants {
		w := g.variants[worst]
		if (e.uses == 0) == (w.uses == 0) && e.lastUsed < w.lastUsed || e.uses == 0 && w.uses > 0 {
			worst = i
		}
	}
	return worst
}
