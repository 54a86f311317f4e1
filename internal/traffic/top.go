package traffic

import (
	"container/heap"
	"math"
	"slices"
	"strings"
	"time"
)

// Request is what is counted by: a request without its query, which may hold
// what is nobody's business, and of which there is no end.
type Request struct {
	Method string `json:"method"`
	Host   string `json:"host"`
	Path   string `json:"path"`
}

const (
	maxMethod = 16
	maxHost   = 100
	maxPath   = 200
)

// bounded is a copy of at most so many bytes, that keeps nothing of a request's
// own memory alive.
func (q Request) bounded() Request {
	return Request{Method: short(q.Method, maxMethod), Host: short(q.Host, maxHost), Path: short(q.Path, maxPath)}
}

func short(text string, most int) string {
	if len(text) <= most {
		return strings.Clone(strings.ToValidUTF8(text, "\uFFFD"))
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// top keeps the requests with the largest sums of weights, in bounded memory:
// Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent
// and Top-k Elements in Data Streams, 2005), here with weights. A sum is never
// too low, and too high by at most the sum that its place had when it took it,
// which is less than the total divided by the number of places; a request with
// more than that is never missing.
//
// Weights fade, by half in each half-life. Instead of letting all sums fade, new
// weights grow (Cormode et al.: Forward Decay, 2009), so that the order of those
// that are there never changes by itself.
//
// It is plain: its owner adds the lock.
type top struct {
	places   int
	halfLife time.Duration
	faint    float64   // a sum that is not worth a line any more
	epoch    time.Time // when a weight of 1 counts as 1
	rows     map[Request]*row
	least    leastFirst
}

// row is one request. The sums are in the weights of top.epoch.
type row struct {
	request Request
	sum     float64
	times   float64
	over    float64 // at most so much of sum is another's
	note    Note
	at      int // its place in the heap
}

// Note is what was last known of a request.
type Note struct {
	Rule   string `json:"rule,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func newTop(places int, halfLife time.Duration, faint float64) *top {
	return &top{places: places, halfLife: halfLife, faint: faint, rows: make(map[Request]*row)}
}

// add counts one request of a weight. One without a weight is not counted: it
// must not take the place of another.
func (t *top) add(now time.Time, request Request, weight float64, note Note) {
	if !(weight > 0) {
		return
	}
	once := t.grown(now)
	r, known := t.rows[request]
	if !known {
		request = request.bounded()
		r, known = t.rows[request]
	}
	switch {
	case known:
	case len(t.least) < t.places:
		r = &row{request: request}
		t.rows[request] = r
		heap.Push(&t.least, r)
	default:
		r = t.least[0]
		delete(t.rows, r.request)
		r.request, r.over, r.times = request, r.sum, 0
		t.rows[request] = r
	}
	r.sum += weight * once
	r.times += once
	r.note = note
	heap.Fix(&t.least, r.at)
}

// renewed is after how many half-lives the epoch moves: long before a float64
// runs out of exponents.
const renewed = 64

// grown is what a weight of 1 counts for now.
func (t *top) grown(now time.Time) float64 {
	if t.epoch.IsZero() {
		t.epoch = now
	}
	halves := float64(now.Sub(t.epoch)) / float64(t.halfLife)
	if halves < renewed {
		return math.Exp2(max(halves, 0)) // a clock that was set back ages nothing
	}
	faded := math.Exp2(-halves)
	for _, r := range t.rows {
		r.sum, r.times, r.over = r.sum*faded, r.times*faded, r.over*faded
	}
	t.epoch = now
	return 1
}

// Row is one request of a list.
type Row struct {
	Request
	Note
	// Sum of the weights, faded.
	Sum float64 `json:"sum"`
	// Times is how often it was counted, faded, since it has had a place.
	Times float64 `json:"times"`
	// Over is how much of Sum may be another's.
	Over float64 `json:"over"`
}

// list gives the n largest, largest first. Those of which next to nothing is
// left, or nothing is certain, are left out.
func (t *top) list(now time.Time, n int) []Row {
	faded := 1 / t.grown(now)
	list := []Row{}
	for _, r := range t.rows {
		if r.sum*faded < t.faint || r.over >= r.sum/2 {
			continue
		}
		list = append(list, Row{Request: r.request, Note: r.note, Sum: r.sum * faded, Times: r.times * faded, Over: r.over * faded})
	}
	slices.SortFunc(list, func(a, b Row) int {
		switch {
		case a.Sum != b.Sum && a.Sum > b.Sum:
			return -1
		case a.Sum != b.Sum:
			return 1
		}
		return strings.Compare(a.Host+a.Path+a.Method, b.Host+b.Path+b.Method)
	})
	return list[:min(n, len(list))]
}

// leastFirst is a heap (container/heap) of rows by their sum.
type leastFirst []*row

func (h leastFirst) Len() int           { return len(h) }
func (h leastFirst) Less(i, j int) bool { return h[i].sum < h[j].sum }

func (h leastFirst) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push is for container/heap.
func (h *leastFirst) Push(x any) {
	r := x.(*row)
	r.at = len(*h)
	*h = append(*h, r)
}

// Pop is for container/heap.
func (h *leastFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
