package main

import (
	"math"
	"math/rand/v2"
	"sort"
)

// trace is a sequence of requests for objects, and how large those are.
type trace struct {
	name    string
	objects []int32
	sizes   []int32 // of bodies, by object
	equal   bool    // all sizes are
	weights []int64 // of entries, see weights
}

// traces are all that are compared; the same ones for the same seed.
func traces(length, n int, seed uint64) []*trace {
	d := dice{seed}
	return []*trace{
		d.popular("Zipf 0.7", length, n, 0.7),
		d.popular("Zipf 0.9", length, n, 0.9),
		d.popular("Zipf 1.1", length, n, 1.1),
		d.scanned("Zipf 0.9 and scans", length, n, 0.9),
		d.shifting("popularity drifts", length, n, 0.9, length/200, n/2500),
		d.shifting("popularity jumps", length, n, 0.9, length/4, n/10),
		d.news("news", length, n, 5, 0.9),
		loop("loop", length, n*2/5),
		d.phases("phases of these", length, n),
		d.popular("Zipf 0.7, web sizes", length, n, 0.7).withWebSizes(d),
		d.popular("Zipf 0.9, web sizes", length, n, 0.9).withWebSizes(d),
	}
}

// bytes is the footprint: all objects that are asked for, each once.
func (t *trace) bytes(weight func(object int32) int64) (n int64) {
	seen := make([]bool, len(t.sizes))
	for _, o := range t.objects {
		if !seen[o] {
			seen[o] = true
			n += weight(o)
		}
	}
	return n
}

// zipf draws ranks from 0 with a popularity of 1/(rank+1)^s, for any s.
type zipf struct{ sums []float64 }

func newZipf(n int, s float64) zipf {
	z := zipf{sums: make([]float64, n)}
	sum := 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -s)
		z.sums[i] = sum
	}
	return z
}

func (z zipf) draw(r *rand.Rand) int {
	return sort.SearchFloat64s(z.sums, r.Float64()*z.sums[len(z.sums)-1])
}

// dice draw traces.
type dice struct{ seed uint64 }

// of are the dice for one kind of trace.
func (d dice) of(kind uint64) *rand.Rand {
	return rand.New(rand.NewPCG(kind+d.seed<<8, 0x6869747261746961))
}

// equally is a trace of objects of a kilobyte.
func equally(name string, n int) *trace {
	t := &trace{name: name, sizes: make([]int32, n), equal: true}
	for i := range t.sizes {
		t.sizes[i] = 1 << 10
	}
	return t
}

// withWebSizes makes sizes log-normal around 12 KiB with a long tail, cut at
// 1 MiB. They have nothing to do with popularity.
func (t *trace) withWebSizes(d dice) *trace {
	r := d.of(9)
	for i := range t.sizes {
		t.sizes[i] = int32(min(max(math.Exp(r.NormFloat64()*1.6+math.Log(12<<10)), 128), 1<<20))
	}
	t.equal = false
	return t
}

// popular asks by popularity, which stays as it is.
func (d dice) popular(name string, length, n int, s float64) *trace {
	r, z := d.of(1), newZipf(n, s)
	t := equally(name, n)
	for range length {
		t.objects = append(t.objects, int32(z.draw(r)))
	}
	return t
}

// scanned interrupts requests by popularity with scans: a crawler asks for a
// tenth of a large archive, each page once, again and again.
func (d dice) scanned(name string, length, n int, s float64) *trace {
	r, z := d.of(2), newZipf(n, s)
	archive := 2 * n
	t := equally(name, n+archive)
	page := 0
	for len(t.objects) < length {
		for range n / 2 {
			t.objects = append(t.objects, int32(z.draw(r)))
		}
		for range archive / 10 {
			t.objects = append(t.objects, int32(n+page%archive))
			page++
		}
	}
	t.objects = t.objects[:length]
	return t
}

// shifting changes what is popular: every so often each rank goes to an object
// further on, so that some stay warm and others are new.
func (d dice) shifting(name string, length, n int, s float64, every, by int) *trace {
	r, z := d.of(3), newZipf(n, s)
	t := equally(name, n)
	for i := range length {
		t.objects = append(t.objects, int32((z.draw(r)+i/every*by)%n))
	}
	return t
}

// news asks for what is recent: every few requests something new appears, and
// interest in it fades. LRU is best at this.
func (d dice) news(name string, length, n, perObject int, s float64) *trace {
	r, z := d.of(4), newZipf(n, s)
	t := equally(name, n+length/perObject+1)
	for i := range length {
		newest := n + i/perObject
		t.objects = append(t.objects, int32(newest-z.draw(r)))
	}
	return t
}

// loop asks for all objects in turn, again and again.
func loop(name string, length, n int) *trace {
	t := equally(name, n)
	for i := range length {
		t.objects = append(t.objects, int32(i%n))
	}
	return t
}

// phases is popularity, a loop, news, and popularity again.
func (d dice) phases(name string, length, n int) *trace {
	part := length / 4
	t := equally(name, 3*n+part)
	for _, phase := range []struct {
		of    *trace
		first int // object
	}{
		{d.popular("", part, n, 0.9), 0}, {loop("", part, n/4), n}, {d.news("", part, n, 4, 0.9), 2 * n}, {d.popular("", part, n, 0.9), 0},
	} {
		for _, o := range phase.of.objects {
			t.objects = append(t.objects, int32(phase.first)+o)
		}
	}
	return t
}
