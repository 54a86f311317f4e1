package httpcache

// A node of a fleet may have missed purges while it was cut off. Until it has
// caught up, what it holds is not used, neither as an answer nor as one that a
// fetch in flight will give; requests go to the origin, each by itself.
//
// The store asks after an answer was chosen and before the fence is asked about
// it. In that order nothing stale is served, however long the process is stopped
// in between:
//
//	1. A: a request comes, and finds an answer
//	2. A: trusted: each purge that was acknowledged before now was applied here
//	3. A: the fence knows of those purges
//	4. another purge may be applied and acknowledged now: it came after the request
//
// Asked first, 2 would say nothing about the time in which the answer was found;
// asked last, it could be true again by what was learned after 3.

// Trust makes the store ask, before each use of what it holds, whether the node
// knows of every purge that has been acknowledged. It must be cheap. Without it
// the answer is yes.
func (s *Store) Trust(holds func() bool) { s.trust.Store(&holds) }

func (s *Store) trusted() bool {
	holds := s.trust.Load()
	return holds == nil || (*holds)()
}
