package disk

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing/fstest"
)

// memory is a file system in memory, for tests that open thousands of folders.
type memory struct {
	mu    sync.Mutex
	files fstest.MapFS
}

func newMemory(name string, text []byte) *memory {
	return &memory{files: fstest.MapFS{name: {Data: slices.Clone(text)}}}
}

func (m *memory) OpenFile(name string, flag int, mode fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	file := m.files[name]
	switch {
	case file == nil && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case file == nil || flag&os.O_TRUNC != 0:
		file = &fstest.MapFile{Mode: mode}
		m.files[name] = file
	}
	return &memoryFile{m, name, file}, nil
}

func (m *memory) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files.ReadDir(name)
}

func (m *memory) MkdirAll(string, fs.FileMode) error { return nil }

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

func (m *memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[to] = m.files[from]
	delete(m.files, from)
	return nil
}

type memoryFile struct {
	m    *memory
	name string
	file *fstest.MapFile
}

func (f *memoryFile) ReadAt(p []byte, offset int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	n := copy(p, f.file.Data[min(offset, int64(len(f.file.Data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(p []byte, offset int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if need := int(offset) + len(p); need > len(f.file.Data) {
		f.file.Data = append(f.file.Data, make([]byte, need-len(f.file.Data))...)
	}
	return copy(f.file.Data[offset:], p), nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.file.Data = f.file.Data[:size:size]
	return nil
}

func (f *memoryFile) Stat() (fs.FileInfo, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.m.files.Stat(f.name)
}

func (f *memoryFile) Sync() error  { return nil }
func (f *memoryFile) Close() error { return nil }
