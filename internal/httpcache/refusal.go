package httpcache

import (
	"context"
	"errors"
	"time"
)

// refusal is what is remembered of a key whose last answer was not stored.
type refusal struct {
	reason Reason
	at     time.Time
	// until then requests do not queue for the next answer; zero when they do.
	until time.Time
}

// refuse remembers that answers for a key cannot be stored, and why; accept
// forgets it.
func (s *Store) refuse(hash uint64, reason Reason, now time.Time) {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.refused.Add(hash, refusal{reason: reason, at: now, until: now.Add(refusedFor)})
}

// explain remembers, for people, why the last answer for a key was not stored.
// Whether requests queue for the next one stays as it is.
func (s *Store) explain(hash uint64, reason Reason, now time.Time) {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	last, _ := sh.refused.Peek(hash)
	sh.refused.Add(hash, refusal{reason: reason, at: now, until: last.until})
}

func (s *Store) accept(hash uint64) {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.refused.Remove(hash)
}

func (s *Store) isRefused(hash uint64, now time.Time) bool {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.isRefusedLocked(hash, now)
}

func (sh *shard) isRefusedLocked(hash uint64, now time.Time) bool {
	last, ok := sh.refused.Peek(hash)
	return ok && now.Before(last.until)
}

// NotStored says why the last answer for a key was not stored.
type NotStored struct {
	Reason Reason `json:"reason"`
	// Age is how long ago it came.
	Age string `json:"age"`
}

// lastNotStored is nil when the last answer was stored, or is too long ago.
func (s *Store) lastNotStored(hash uint64, now time.Time) *NotStored {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	last, ok := sh.refused.Peek(hash)
	if !ok {
		return nil
	}
	return &NotStored{Reason: last.reason, Age: now.Sub(last.at).Truncate(time.Second).String()}
}

// explain leaves behind why nothing was stored in the end.
func (f *fill) explain() {
	reason := f.reason
	switch {
	case f.stored || f.outcome == futile:
		return
	case f.late != "":
		reason = f.late
	case f.outcome == failed:
		reason = f.cutShort(ReasonOriginFailed)
	}
	if reason != "" {
		f.h.Store.explain(f.hash, reason, time.Now())
	}
}

// cutShort is the reason for a fetch that ended before its answer did: nobody
// was left to wait for it, or else the one given.
func (f *fill) cutShort(reason Reason) Reason {
	if errors.Is(context.Cause(f.ctx), errNobody) {
		return ReasonAbandoned
	}
	return reason
}
