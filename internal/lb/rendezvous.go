package lb

import "math"

// boundedLoad is how much more than the mean a replica may have because of its
// keys (consistent hashing with bounded loads, Mirrokni et al. 2016: c = 1.25).
const boundedLoad = 1.25

// rendezvous picks by highest random weight: each candidate draws a number from
// the key and its own name, and the highest one wins. When one comes or goes,
// only its own keys move, 1/n of all. A weight w scales the draw to -w/ln(u),
// so that in slow start a replica has w of its keys and takes the others one by
// one. Whoever would have more than 1.25 times the mean load, its weight
// counted, is left out; its keys go on to the next in their own order.
//
// The loads are those of a moment: requests that pick together may exceed the
// bound by their number.
func rendezvous(c Candidates, key uint64) int {
	n, load, weight := c.Len(), 0, 0.0
	for i := range n {
		if c.Up(i) {
			load += c.Load(i)
			weight += c.Weight(i)
		}
	}
	best, highest := -1, 0.0
	spare, spareHighest := -1, 0.0
	for i := range n {
		if !c.Up(i) {
			continue
		}
		w := c.Weight(i)
		draw := w / -math.Log(unit64(mixed(key^c.Place(i))))
		if spare < 0 || draw > spareHighest {
			spare, spareHighest = i, draw
		}
		most := math.Ceil(boundedLoad * float64(load+1) * w / weight)
		if float64(c.Load(i)+1) <= most && (best < 0 || draw > highest) {
			best, highest = i, draw
		}
	}
	if best < 0 {
		return spare
	}
	return best
}

// unit64 maps to the open interval from 0 to 1.
func unit64(x uint64) float64 { return (float64(x>>11) + 0.5) / (1 << 53) }

// mixed spreads every bit over all (the finalizer of splitmix64, Steele et al.
// 2014).
func mixed(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// fnvStart is the offset basis of 64-bit FNV-1a.
const fnvStart uint64 = 14695981039346656037

// hashed adds text to a hash, FNV-1a: the same on every gateway and for ever,
// unlike hash/maphash. An end mark keeps "a","bc" and "ab","c" apart.
func hashed(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return (h ^ 0xff) * 1099511628211
}
