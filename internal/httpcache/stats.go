package httpcache

import (
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/internal/disk"
	"github.com/edgegw/edge/internal/unit"
)

// counters are what Stats reads.
type counters struct {
	entries, hits, stale, revalidated, misses, bypasses, errors atomic.Int64
	collapsed, stores, evictions, fenced, purges, invalidations atomic.Int64
	fillErrors, refreshErrors, faults                           atomic.Int64
	sentBytes                                                   atomic.Int64
	encodedBytes, encoded, uselessEncodings, failedEncodings    atomic.Int64
}

// Stats is a Store at one moment. Counts run from its start.
type Stats struct {
	Entries    int64  `json:"entries"`
	Bytes      int64  `json:"bytes"`
	MaxBytes   int64  `json:"max_bytes"`
	Yielded    int64  `json:"yielded_bytes"` // the part of MaxBytes that is given up
	MaxObject  int64  `json:"max_object"`
	Generation uint64 `json:"generation"`

	// Hits, Stale, Revalidated, Misses, Bypasses and Errors count requests by
	// Result.Status; Collapsed counts those that shared another's fetch.
	Hits        int64 `json:"hits"`
	Stale       int64 `json:"stale"`
	Revalidated int64 `json:"revalidated"`
	Misses      int64 `json:"misses"`
	Bypasses    int64 `json:"bypasses"`
	Errors      int64 `json:"errors"`
	Collapsed   int64 `json:"collapsed"`
	// SentBytes are the bytes of bodies that went out of the store.
	SentBytes int64 `json:"sent_bytes"`

	Stores        int64 `json:"stores"`
	Evictions     int64 `json:"evictions"`
	Fenced        int64 `json:"fenced"` // answers that a purge kept from being stored
	Purges        int64 `json:"purges"`
	Invalidations int64 `json:"invalidations"` // by unsafe requests
	FillErrors    int64 `json:"fill_errors"`
	RefreshErrors int64 `json:"refresh_errors"`
	Faults        int64 `json:"faults"` // of this engine
	Refreshing    int64 `json:"refreshing"`

	// EncodedBytes is the part of Bytes that bodies in other codings take.
	// Encoded counts those that were made, UselessEncodings those that saved
	// too little to keep, FailedEncodings faults.
	EncodedBytes     int64 `json:"encoded_bytes"`
	Encoded          int64 `json:"encoded"`
	UselessEncodings int64 `json:"useless_encodings"`
	FailedEncodings  int64 `json:"failed_encodings"`

	// Disk is nil without one.
	Disk *DiskStats `json:"disk,omitempty"`
	// Vault is nil without one.
	Vault *VaultStats `json:"vault,omitempty"`
	// Shared is nil without a cache that nodes have in common.
	Shared *SharedStats `json:"shared,omitempty"`
}

// DiskStats is the disk at one moment.
type DiskStats struct {
	// Serving: answers are read and written. It is off for half a minute, and
	// the disk is emptied, after a purge could not be written.
	Serving bool `json:"serving"`
	// Hits are answers that were read from disk into memory.
	Hits int64 `json:"hits"`
	// MaxObject is the largest body that is stored. Large counts those that memory
	// does not take and that were stored here, Late those that were not, since the
	// disk did not keep up.
	MaxObject int64 `json:"max_object"`
	Large     int64 `json:"large"`
	Late      int64 `json:"late"`
	// Fault is why the last purge may not hold over a restart.
	Fault string `json:"fault,omitempty"`
	// OpenedIn is what finding the answers of the last run took.
	OpenedIn unit.Duration `json:"opened_in"`
	disk.Stats
}

// diskStats is nil without a disk.
func (s *Store) diskStats() *DiskStats {
	t := s.tier.Load()
	if t == nil {
		return nil
	}
	d := &DiskStats{Serving: t.serving.Load(), Hits: t.hits.Load()}
	if blobs := t.blobs.Load(); blobs != nil {
		d.Stats = blobs.Stats()
		d.OpenedIn = unit.Duration(d.Stats.OpenedIn.Round(time.Microsecond))
	}
	d.Corrupt += t.misread.Load()
	d.MaxBytes, d.MaxObject = t.maxBytes.Load(), t.largest()
	d.Large, d.Late = t.large.Load(), t.late.Load()
	if err := s.DiskFault(); err != nil {
		d.Fault = err.Error()
	}
	return d
}

// Stats reads the counters; each is exact, but they are not read at one instant.
func (s *Store) Stats() Stats {
	c := &s.counters
	return Stats{
		Entries: c.entries.Load(), Bytes: s.bytes.Load(),
		MaxBytes: s.maxBytes.Load(), Yielded: s.yielded.Load(), MaxObject: s.maxObject.Load(), Generation: s.Generation(),
		Hits: c.hits.Load(), Stale: c.stale.Load(), Revalidated: c.revalidated.Load(),
		Misses: c.misses.Load(), Bypasses: c.bypasses.Load(), Errors: c.errors.Load(),
		Collapsed: c.collapsed.Load(), SentBytes: c.sentBytes.Load(), Stores: c.stores.Load(), Evictions: c.evictions.Load(),
		Fenced: c.fenced.Load(), Purges: c.purges.Load(), Invalidations: c.invalidations.Load(),
		FillErrors: c.fillErrors.Load(), RefreshErrors: c.refreshErrors.Load(),
		EncodedBytes: c.encodedBytes.Load(), Encoded: c.encoded.Load(),
		UselessEncodings: c.uselessEncodings.Load(), FailedEncodings: c.failedEncodings.Load(),
		Faults: c.faults.Load(), Refreshing: s.refreshes.Load(), Disk: s.diskStats(), Vault: s.vaultStats(), Shared: s.SharedStats(),
	}
}

func (s *Store) count(status Status) {
	switch status {
	case StatusHit:
		s.counters.hits.Add(1)
	case StatusStale:
		s.counters.stale.Add(1)
	case StatusRevalidated:
		s.counters.revalidated.Add(1)
	case StatusMiss:
		s.counters.misses.Add(1)
	case StatusBypass:
		s.counters.bypasses.Add(1)
	case StatusError, StatusUnavailable:
		s.counters.errors.Add(1)
	}
}
