package lb

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAHintHasReplicasCheckedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool("app", nil) // it has started nothing, and needs no end
		r := newReplica("app", "127.0.0.1:1")
		p.members["127.0.0.1:1"] = r
		asked := func() int {
			n := 0
			for ; len(r.recheck) > 0; n++ {
				<-r.recheck
			}
			return n
		}
		for range 100 {
			p.Hint()
		}
		if n := asked(); n != 1 {
			t.Errorf("%d checks for a hundred hints: want one", n)
		}
		time.Sleep(hintEvery)
		p.Hint()
		if n := asked(); n != 1 {
			t.Errorf("%d checks for a hint later: want one", n)
		}
	})
}
