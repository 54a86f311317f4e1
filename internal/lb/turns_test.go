package lb

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/transport"
)

// TestDialsWaitForTheirTurn: a thousand at once, each of which takes 10 ms.
func TestDialsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under, most, made atomic.Int64
		dial := make(turns, mostDials).take(3*time.Second, func(context.Context, string, string) (net.Conn, error) {
			n := under.Add(1)
			defer under.Add(-1)
			for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
			}
			time.Sleep(10 * time.Millisecond)
			made.Add(1)
			return nil, nil
		})
		began := time.Now()
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() {
				if _, err := dial(t.Context(), "tcp", "10.0.0.1:80"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if made.Load() != 1000 || most.Load() != mostDials {
			t.Errorf("%d made, %d at a time: want 1000 and %d", made.Load(), most.Load(), mostDials)
		}
		if took := time.Since(began); took != 160*time.Millisecond {
			t.Errorf("took %v: want 160 ms, sixteen turns", took)
		}
	})
}

func TestNobodyWaitsForATurnForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, &dialError{Err: ctx.Err()}
		}
		dial := make(turns, 1).take(3*time.Second, hangs)
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _, _ = dial(ctx, "tcp", "10.0.0.1:80") })
		synctest.Wait()

		began := time.Now()
		_, err := dial(ctx, "tcp", "10.0.0.1:80")
		var nothingSent *dialError
		if !errors.Is(err, transport.ErrNoTurn) || !errors.As(err, &nothingSent) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v: want no turn after 3 s, as an error of dialling", err, time.Since(began))
		}
		group.Go(func() {
			if _, err := dial(ctx, "tcp", "10.0.0.1:80"); !errors.Is(err, context.Canceled) || !errors.As(err, &nothingSent) {
				t.Errorf("%v: want the end of the context, as an error of dialling", err)
			}
		})
		synctest.Wait()
		stop()
		group.Wait()
		if _, err := dial(ctx, "tcp", "10.0.0.1:80"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: want the turn back, and the dial's own error", err)
		}
	})
}
