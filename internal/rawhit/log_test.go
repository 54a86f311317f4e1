package rawhit

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestARecordWaitsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(Config{})
		table.Start()
		var count atomic.Int64
		written := func() int { return int(count.Load()) }
		add := func(n int) {
			for range n {
				table.journal.add(record{log: func(Record) { count.Add(1) }})
			}
			synctest.Wait()
		}
		began := time.Now()
		add(1)
		time.Sleep(linger / 2)
		add(1)
		if written() != 0 {
			t.Errorf("%d records are written at once: want them to wait", written())
		}
		time.Sleep(linger / 2)
		synctest.Wait()
		if written() != 2 {
			t.Errorf("%d records are written after %s: want both", written(), time.Since(began))
		}
		began = time.Now()
		add(crowd + 1)
		if written() != 2+crowd+1 || time.Since(began) > 0 {
			t.Errorf("%d records are written after %s: want all of a crowd at once", written()-2, time.Since(began))
		}
		add(3)
		table.Stop()
		if want := 2 + crowd + 1 + 3; written() != want || time.Since(began) > 0 {
			t.Errorf("%d records are written after %s: want all %d at the end, at once", written(), time.Since(began), want)
		}
	})
}
