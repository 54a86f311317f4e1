package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// Growing reads a file while it is written. Chunk and Close may be called by one
// goroutine.
type Growing struct {
	s    *Store
	file File
}

// Follow opens the file for a reader, with a second's patience, as Read. Any
// goroutine may call it; the reader keeps what is there, whatever becomes of the
// file. ErrGone: it has got its place, or has been given up.
func (w *Writing) Follow(ctx context.Context) (*Growing, error) {
	return patiently(ctx, w.s, Ref{}, func() (*Growing, error) {
		file, err := w.s.fs.OpenFile(w.path, os.O_RDONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrGone
		}
		if err != nil {
			return nil, err
		}
		return &Growing{s: w.s, file: file}, nil
	}, (*Growing).Close)
}

// Chunk gives some of the bytes between two offsets to use, from the first on.
// The caller knows that they have been written.
func (g *Growing) Chunk(ctx context.Context, from, to int64, use func([]byte) error) error {
	n := min(to-from, ChunkSize)
	pooled, err := patiently(ctx, g.s, Ref{}, func() (*[]byte, error) {
		pooled := chunkSpace.Get().(*[]byte)
		if _, err := g.file.ReadAt((*pooled)[:n], from); err != nil {
			chunkSpace.Put(pooled)
			return nil, err
		}
		return pooled, nil
	}, func(b *[]byte) { chunkSpace.Put(b) })
	if err != nil {
		return err
	}
	defer chunkSpace.Put(pooled)
	return use((*pooled)[:n])
}

// Close lets go of the file. A read that hangs keeps its own hold of it.
func (g *Growing) Close() { _ = g.file.Close() }
