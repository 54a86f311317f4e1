package httpcache

import "time"

// refreshPause is how long a refresh that brought nothing to store keeps the
// next one waiting, so that a failing origin is not hammered for each key.
const refreshPause = time.Second

// pause keeps refreshes away for a while. The time is kept in milliseconds, of which
// 32 bits turn over every seven weeks.
func (e *entry) pause(now time.Time) {
	e.pausedUntil.Store(uint32(now.Add(refreshPause).UnixMilli()))
}

func (e *entry) paused(now time.Time) bool {
	left := int32(e.pausedUntil.Load() - uint32(now.UnixMilli()))
	return 0 < left && left <= int32(refreshPause/time.Millisecond)
}

// refresh starts a fetch in the background that replaces a stale entry, unless
// one is on its way already or too many are.
func (x *exchange) refresh(e *entry, d decision) {
	s := x.h.Store
	if e.paused(time.Now()) || x.refreshing() {
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
