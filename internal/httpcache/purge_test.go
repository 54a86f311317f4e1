package httpcache

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/disk"
)

// marksHeld is what the fence's marks take, counted anew.
func (s *Store) marksHeld() (n int64) {
	for _, key := range s.fence.marks.Keys() {
		n += markBytes(key)
	}
	for _, name := range s.fence.groups.marks.Keys() {
		n += markBytes(name)
	}
	return n
}

func TestMarksAreInsideTheCap(t *testing.T) {
	w := newWorld(t)
	s := w.h.Store
	s.Configure(Options{MaxBytes: 64 << 20})
	before := heapOf()
	for i := range 10_000 {
		s.Purge(Purge{Tags: []string{fmt.Sprintf("a-tag-of-some-length-%d", i)}, Soft: true})
		s.fence.groups.invalidate("https://example.com", []string{fmt.Sprintf("group-%d", i)})
	}
	grown, accounted := heapOf()-before, s.Stats().Bytes
	if ratio := float64(accounted) / float64(grown); ratio < 1 || ratio > 1.4 || accounted != s.marksHeld() {
		t.Errorf("%d bytes accounted for %d on the heap: want 1 to 1.4 times as many", accounted, grown)
	}
}

func TestMarksLeaveRoomForAnswers(t *testing.T) {
	w := newWorld(t)
	s := w.h.Store
	s.Configure(Options{MaxBytes: 256 << 10})
	page := strings.Repeat("x", 900)
	w.origin.answer = respond(http.StatusOK, page, "Cache-Control: max-age=3600")
	w.get(site)
	for i := range 1000 {
		s.Purge(Purge{Tags: []string{fmt.Sprintf("a-tag-of-some-length-%d", i)}})
		s.fence.groups.invalidate("https://example.com", []string{fmt.Sprintf("group-%d", i)})
	}
	if held := s.marksHeld(); held > 2*(256<<10)/16 {
		t.Errorf("%d bytes of marks: want an eighth of 256 KiB at most", held)
	}
	// Too much is purged, never too little.
	w.get(site).wants(t, StatusMiss, http.StatusOK, page)
	w.get(site).wants(t, StatusHit, http.StatusOK, page)
}

// filled is a store with so many answers, one in a thousand of which has the
// tag "some".
func filled(tb testing.TB, entries int) *Store {
	s := NewStore(Options{MaxBytes: 8 << 30}) // room for all
	var all sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		all.Go(func() {
			o := &testOrigin{source: Source{Current: true}, answer: respond(http.StatusOK, "page", "Cache-Control: max-age=3600")}
			h := &Handler{Store: s}
			w := &sink{header: make(http.Header)}
			for i := worker; i < entries; i += workers {
				r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://example.com/%d", i), nil)
				if err != nil {
					tb.Error(err)
					return
				}
				v := &cacherules.Verdict{Tags: []string{fmt.Sprintf("topic-%d", i%5000)}}
				if i%1000 == 0 {
					v.Tags = append(v.Tags, "some")
				}
				clear(w.header)
				o.asked = nil
				if res, err := h.Serve(w, r, v, o); err != nil || !res.Stored {
					tb.Errorf("%+v %v: want it stored", res, err)
					return
				}
			}
		})
	}
	all.Wait()
	if now := s.Stats(); now.Entries != int64(entries) {
		tb.Fatalf("%d entries: want %d", now.Entries, entries)
	}
	return s
}

var orders = []struct {
	name  string
	order Purge
}{
	{"everything", Purge{Everything: true}}, {"tag", Purge{Tags: []string{"some"}}},
	{"host", Purge{Hosts: []string{"example.com"}}}, {"prefix", Purge{Prefixes: []string{"example.com/1"}}},
}

func TestAPurgeIsAcknowledgedAtOnce(t *testing.T) {
	s := filled(t, 20_000)
	for _, o := range orders {
		var took []time.Duration
		for range 101 {
			began := time.Now()
			s.Purge(o.order)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		if median := took[len(took)/2]; median > time.Millisecond {
			t.Errorf("by %s: %s with 20,000 answers: want less than a millisecond", o.name, median)
		}
	}
}

// BenchmarkPurge: the time to acknowledgement must not follow the entries. With a
// disk each purge is written before it is acknowledged; where boots have no name,
// synced too.
func BenchmarkPurge(b *testing.B) {
	for _, entries := range []int{1000, 1_000_000} {
		s := filled(b, entries)
		for _, o := range orders {
			b.Run(fmt.Sprintf("%s/entries=%d", o.name, entries), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s.Purge(o.order)
				}
			})
		}
		for _, tier := range []struct{ name, boot string }{{"with-disk", disk.Boot()}, {"synced", ""}} {
			found, err := s.OpenDisk(DiskOptions{Dir: b.TempDir(), MaxBytes: 64 << 20, Boot: tier.boot})
			if err == nil {
				_, err = s.UseDisk(found.Warm)
			}
			if err != nil {
				b.Fatal(err)
			}
			for _, o := range orders {
				b.Run(fmt.Sprintf("%s/%s/entries=%d", o.name, tier.name, entries), func(b *testing.B) {
					quantiles(b, func() { s.Purge(o.order) })
					if err := s.DiskFault(); err != nil {
						b.Fatal(err)
					}
				})
			}
			s.tier.Load().close()
		}
	}
}

// quantiles reports what half and nine tenths of the calls took at most, and the
// longest of them: a disk that others use too makes a few wait for long, and means
// say little.
func quantiles(b *testing.B, call func()) {
	var all []time.Duration
	for b.Loop() {
		start := time.Now()
		call()
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2]), "p50-ns")
	b.ReportMetric(float64(all[len(all)*9/10]), "p90-ns")
	b.ReportMetric(float64(all[len(all)-1]), "max-ns")
}

// What the disk by itself takes for as many bytes as a purge writes.
func BenchmarkDiskAlone(b *testing.B) {
	log, _, _, err := disk.ReadLog(b.TempDir(), "log", nil)
	if err == nil {
		err = log.Rewrite()
	}
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	frame := make([]byte, 64)
	quantiles(b, func() {
		if err := log.Append(frame); err != nil {
			b.Fatal(err)
		}
	})
}
