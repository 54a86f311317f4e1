package httpcache

import "time"

// refreshPause is how long a refresh that brought nothing to store keeps the
// next one waiting, so that a failing origin is not hammered for each key.
const refreshPause = time.Second

// refresh starts a fetch in the background that replaces a stale entry, unless
// one is on its way already or too many are.
func (x *exchange) refresh(e *entry, d decision) {
	s := x.h.Store
	if time.Now().UnixNano() < e.pausedUntil.Load() || x.refreshing() {
		return
	}
	if s.refreshes.Add(1) > x.h.policy().MaxRefreshes {
		s.refreshes.Add(-1)
		return
	}
	f := x.newFill(d, e, nil)
	f.background = true
	sh := s.shard(x.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found, guess := s.foundLocked(sh, x)
	changed := found != e && (found != nil || e.body().file == nil) // what is in a file is not in memory
	if changed || x.joinableLocked(sh) {
		s.refreshes.Add(-1)
		f.cancel(nil)
		return
	}
	f.guess = guess
	f.startLocked(sh)
	f.abandonLater()
}

// refreshing reports a fetch in flight whose answer will do.
func (x *exchange) refreshing() bool {
	sh := x.h.Store.shard(x.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return x.joinableLocked(sh)
}
