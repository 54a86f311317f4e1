package httpcache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// readAll reads to the end, or the writer's error.
func readAll(r *reader) ([]byte, error) {
	var all []byte
	for {
		p, _, news, err := r.take()
		all = append(all, p...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if news != nil {
			<-news
		}
	}
}

func TestBufferCarriesEveryByteToEveryReader(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	whole := make([]byte, 3<<20)
	for i := range whole {
		whole[i] = byte(random.Uint32())
	}
	for name, limit := range map[string]int64{
		"all of it is kept":       8 << 20,
		"it outgrows the limit":   1 << 20,
		"nothing is kept at all":  0,
		"a limit within a chunk":  firstChunk + 5,
		"exactly what fits in it": int64(len(whole)),
	} {
		var reserved atomic.Int64
		b := &buffer{
			limit:   limit,
			reserve: func(n int64) bool { reserved.Add(n); return true },
			release: func(n int64) { reserved.Add(-n) },
		}
		var all sync.WaitGroup
		for range 3 {
			r := b.attach()
			all.Go(func() {
				defer r.detach()
				if got, err := readAll(r); err != nil || !bytes.Equal(got, whole) {
					t.Errorf("%s: %v, %d bytes: want all %d", name, err, len(got), len(whole))
				}
			})
		}
		for rest := whole; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(100_000))
			if err := b.write(t.Context(), rest[:n]); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			rest = rest[n:]
		}
		b.close(nil)
		all.Wait()
		whole, kept := b.whole()
		if kept != (limit >= whole.size) {
			t.Errorf("%s: kept %v of %d with a limit of %d", name, kept, whole.size, limit)
		}
		if left := b.surrender(); reserved.Load() != left || !kept && left != 0 {
			t.Errorf("%s: %d reserved, %d of it known: want them equal, and 0 if it is not kept", name, reserved.Load(), left)
		}
	}
}

func TestBufferWithoutReadersOrRoom(t *testing.T) {
	big := make([]byte, 2*windowBytes)
	t.Run("a window that nobody reads ends the writer", func(t *testing.T) {
		b := &buffer{}
		if err := b.write(t.Context(), big); !errors.Is(err, errNobody) {
			t.Errorf("%v: want that nobody reads", err)
		}
	})
	t.Run("a writer that waits ends with its context", func(t *testing.T) {
		b := &buffer{limit: 1}
		defer b.attach().detach()
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() { done <- b.write(ctx, big) }()
		cancel(io.ErrNoProgress)
		if err := <-done; err != io.ErrNoProgress {
			t.Errorf("%v: want the context's cause", err)
		}
	})
	t.Run("a writer that waits ends with its last reader", func(t *testing.T) {
		b := &buffer{limit: 1}
		r := b.attach()
		done := make(chan error)
		go func() { done <- b.write(t.Context(), big) }()
		r.detach()
		r.detach()
		if err := <-done; !errors.Is(err, errNobody) {
			t.Errorf("%v: want that nobody reads", err)
		}
	})
	t.Run("no memory makes it a window, which nobody may join", func(t *testing.T) {
		b := &buffer{limit: 1 << 30, reserve: func(int64) bool { return false }}
		r := b.attach()
		if err := b.write(t.Context(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if b.attach() != nil {
			t.Error("a reader joined after the beginning may be gone")
		}
		b.close(nil)
		if got, err := readAll(r); err != nil || string(got) != "hello" {
			t.Errorf("%q %v: want hello", got, err)
		}
	})
	t.Run("an error reaches readers after what came before it", func(t *testing.T) {
		b := &buffer{limit: 100}
		r := b.attach()
		_ = b.write(t.Context(), []byte("hel"))
		b.close(io.ErrUnexpectedEOF)
		if got, err := readAll(r); err != io.ErrUnexpectedEOF || string(got) != "hel" {
			t.Errorf("%q %v: want the start and the error", got, err)
		}
	})
}

func TestPackedBodiesWasteNothing(t *testing.T) {
	exact := body{chunks: [][]byte{make([]byte, 10)}, size: 10}
	if packed := exact.packed(); &packed.chunks[0][0] != &exact.chunks[0][0] {
		t.Error("a body in one exact piece was copied")
	}
	for name, b := range map[string]body{
		"small, in pieces":  {chunks: [][]byte{make([]byte, 10, 16), make([]byte, 3, 32)}, size: 13},
		"large, with spare": {chunks: [][]byte{make([]byte, 1<<20), make([]byte, 1, 1<<20)}, size: 1<<20 + 1},
		"empty":             {},
	} {
		packed, room := b.packed(), 0
		for _, chunk := range packed.chunks {
			room += cap(chunk)
		}
		if int64(room) != b.size || packed.size != b.size {
			t.Errorf("%s: room for %d in %d bytes", name, room, b.size)
		}
	}
}
