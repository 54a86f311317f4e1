package traffic

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPointsAreWhatCameBetweenLooks(t *testing.T) {
	h := history{most: 3}
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	h.add(at(0), Totals{Hits: 100, ReplicaBytes: 1000})
	if got := h.after(time.Time{}); len(got) != 0 {
		t.Errorf("%+v: the first look is where counting begins", got)
	}
	h.add(at(5), Totals{Hits: 130, ReplicaBytes: 1500, Refused: 2})
	h.add(at(5), Totals{Hits: 999})
	h.add(at(15), Totals{Hits: 131, ReplicaBytes: 200, Refused: 2}) // a pool is gone
	want := []Point{
		{At: at(5), Seconds: 5, Totals: Totals{Hits: 30, ReplicaBytes: 500, Refused: 2}},
		{At: at(15), Seconds: 10, Totals: Totals{Hits: 1}},
	}
	equal(t, h.after(time.Time{}), want)
	equal(t, h.after(at(5)), want[1:])

	for second := 20; second <= 35; second += 5 {
		h.add(at(second), Totals{Hits: int64(131 + second)})
	}
	got := h.after(time.Time{})
	if len(got) != 3 || !got[0].At.Equal(at(25)) || !got[2].At.Equal(at(35)) {
		t.Errorf("%+v: want the last three, oldest first", got)
	}
}

func TestAnswersAreThoseAfterATime(t *testing.T) {
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	h := history{most: 9}
	h.add(at(0), Totals{Visits: 7, Failures: 7})
	h.add(at(5), Totals{Visits: 27, Failures: 12, ClientErrors: 1})
	h.add(at(10), Totals{Visits: 67, Failures: 14, ClientErrors: 21, Refused: 2})
	h.add(at(15), Totals{Visits: 107, Failures: 14, ClientErrors: 21, Refused: 2})
	got := AnswersAfter(h.after(time.Time{}), at(5))
	if want := (Answers{Seconds: 10, Visits: 80, ClientErrors: 20, Failures: 2, Refused: 2}); got != want {
		t.Errorf("%+v: want %+v", got, want)
	}
	if got.Failed() != 0.025 || got.Unwanted() != 0.25 {
		t.Errorf("%v failed, %v unwanted: want 2 and 20 of 80", got.Failed(), got.Unwanted())
	}
	if none := AnswersAfter(nil, at(0)); none.Failed() != 0 || none.Unwanted() != 0 {
		t.Errorf("%+v: want no share of nothing", none)
	}
}

func equal(t *testing.T, got, want []Point) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%+v: want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("point %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestRunLooksUntilItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		ctx, stop := context.WithCancel(t.Context())
		ended, looks := make(chan struct{}), int64(0)
		go func() {
			defer close(ended)
			m.Run(ctx, func() Totals { looks++; return Totals{Hits: looks * 10} })
		}()
		time.Sleep(2*time.Hour + Every/2)
		stop()
		<-ended
		points := m.Lately(time.Time{})
		if len(points) != kept || points[0].Hits != 10 || points[0].Seconds != Every.Seconds() {
			t.Errorf("%d points, the first %+v: want those of the last hour", len(points), points[0])
		}
	})
}

func TestManyAtATime(t *testing.T) {
	m := New()
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for n := range 500 {
				m.Missed(start, page(n%20), Note{Rule: "page /*"})
				m.Asked(start, page(worker), 10*time.Millisecond, Note{})
				m.Look(start.Add(time.Duration(n)*time.Second), Totals{Hits: int64(n)})
				m.Report(start, time.Time{})
			}
		})
	}
	all.Wait()
	report := m.Report(start, time.Time{})
	if len(report.Misses) != 20 || report.Misses[0].Sum != 200 || len(report.Cost) != 8 || report.Cost[0].Times != 500 {
		t.Errorf("%+v: want 4000 misses over 20 pages, and 500 questions of each of 8", report)
	}
}
