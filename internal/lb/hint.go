package lb

import "time"

// hintEvery bounds how often hints have replicas checked, however many come.
const hintEvery = time.Second

// Hint says that replicas may have changed: each is checked at once, instead of
// when its turn comes. Nothing is believed of it.
func (p *Pool) Hint() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.hinted > 0 && now-p.hinted < int64(hintEvery) {
		return
	}
	p.hinted = now
	for _, r := range p.members {
		select {
		case r.recheck <- struct{}{}:
		default: // it is about to be
		}
	}
}
