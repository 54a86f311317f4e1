package httpcache

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/edgegw/edge/internal/disk"
)

// folder is a file system in memory. What was written is there after a crash
// of the process, as with a real one; after one of the system what was synced is,
// and perhaps some more.
type folder struct {
	mu    sync.Mutex
	files fstest.MapFS
	// synced are the files as the last sync of the folder left them; platter what
	// was in each at its own last one.
	synced  fstest.MapFS
	platter map[*fstest.MapFile][]byte
	// failing is what writes, syncs and removals come to, unless nil; failingSyncs
	// what syncs of files do.
	failing, failingSyncs error
	// reading, writing and syncing are called at each, with the file's name,
	// unless nil.
	reading, writing, syncing func(name string)
	// refusing says what a write comes to, unless nil.
	refusing func(name string) error
}

func newFolder() *folder {
	return &folder{files: make(fstest.MapFS), synced: make(fstest.MapFS), platter: make(map[*fstest.MapFile][]byte)}
}

// crashed is what is left when the process is killed at this moment.
func (f *folder) crashed() *folder {
	f.mu.Lock()
	defer f.mu.Unlock()
	left, copies := newFolder(), make(map[*fstest.MapFile]*fstest.MapFile)
	copied := func(file *fstest.MapFile) *fstest.MapFile {
		if copies[file] == nil {
			copies[file] = &fstest.MapFile{Data: slices.Clone(file.Data), Mode: file.Mode}
			left.platter[copies[file]] = f.platter[file]
		}
		return copies[file]
	}
	for name, file := range f.files {
		left.files[name] = copied(file)
	}
	for name, file := range f.synced {
		left.synced[name] = copied(file)
	}
	return left
}

// cutOff is what is left when the power fails at this moment: of each name and of
// what was appended to each file since its last sync, all, nothing, or a part.
func (f *folder) cutOff(random *rand.Rand) *folder {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := maps.Clone(f.files)
	maps.Copy(names, f.synced)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if now, known := f.files[name]; random.IntN(4) > 0 && known {
			names[name] = now
		} else if _, lasting := f.synced[name]; !lasting || random.IntN(2) == 0 && !known {
			delete(names, name)
		}
	}
	left := newFolder()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		file := &fstest.MapFile{Data: slices.Clone(f.leftOf(names[name], random)), Mode: names[name].Mode}
		left.files[name], left.synced[name], left.platter[file] = file, file, slices.Clone(file.Data)
	}
	return left
}

func (f *folder) leftOf(file *fstest.MapFile, random *rand.Rand) []byte {
	sure := f.platter[file]
	if !bytes.HasPrefix(file.Data, sure) { // it was cut, and written to again
		return [][]byte{sure, file.Data}[random.IntN(2)]
	}
	rest := len(file.Data) - len(sure)
	return file.Data[:len(sure)+[]int{0, rest, rest, random.IntN(rest + 1)}[random.IntN(4)]]
}

// setPace says what becomes of reads and writes from now on.
func (f *folder) setPace(reading, writing func(name string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading, f.writing = reading, writing
}

func (f *folder) setRefusing(refusing func(name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusing = refusing
}

func (f *folder) setSyncing(syncing func(name string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncing = syncing
}

// named are the files with an ending.
func (f *folder) named(suffix string) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.files {
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	return names
}

// called runs one of the folder's functions.
func (f *folder) called(which *func(string), name string) {
	f.mu.Lock()
	call := *which
	f.mu.Unlock()
	if call != nil {
		call(name)
	}
}

func (f *folder) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing = err
}

func (f *folder) failSyncs(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failingSyncs = err
}

// file is the only one whose name ends so.
func (f *folder) file(suffix string) *fstest.MapFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		if strings.HasSuffix(name, suffix) {
			return f.files[name]
		}
	}
	return nil
}

func (f *folder) OpenFile(name string, flag int, mode fs.FileMode) (disk.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = strings.TrimPrefix(name, "/")
	file := f.files[name]
	switch {
	case f.failing != nil && flag&os.O_CREATE != 0:
		return nil, f.failing
	case flag&os.O_CREATE == 0 && file == nil && !strings.Contains(name, "."):
		return openFile{f, name, &fstest.MapFile{Mode: fs.ModeDir}}, nil // the folder itself
	case file == nil && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case file == nil || flag&os.O_TRUNC != 0:
		file = &fstest.MapFile{Mode: mode}
		f.files[name] = file
	}
	return openFile{f, name, file}, nil
}

func (f *folder) ReadDir(name string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files.ReadDir(strings.TrimPrefix(name, "/"))
}

func (f *folder) MkdirAll(string, fs.FileMode) error { return nil }

func (f *folder) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing != nil {
		return f.failing
	}
	delete(f.files, strings.TrimPrefix(name, "/"))
	return nil
}

func (f *folder) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing != nil {
		return f.failing
	}
	f.files[strings.TrimPrefix(to, "/")] = f.files[strings.TrimPrefix(from, "/")]
	delete(f.files, strings.TrimPrefix(from, "/"))
	return nil
}

type openFile struct {
	f    *folder
	name string
	file *fstest.MapFile
}

func (o openFile) ReadAt(p []byte, offset int64) (int, error) {
	o.f.called(&o.f.reading, o.f.nameOf(o))
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	n := copy(p, o.file.Data[min(offset, int64(len(o.file.Data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o openFile) WriteAt(p []byte, offset int64) (int, error) {
	name := o.f.nameOf(o)
	o.f.called(&o.f.writing, name)
	o.f.mu.Lock()
	refusing := o.f.refusing
	o.f.mu.Unlock()
	if refusing != nil {
		if err := refusing(name); err != nil {
			return 0, err
		}
	}
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if o.f.failing != nil {
		return 0, o.f.failing
	}
	if need := int(offset) + len(p); need > len(o.file.Data) {
		o.file.Data = append(o.file.Data, make([]byte, need-len(o.file.Data))...)
	}
	return copy(o.file.Data[offset:], p), nil
}

func (o openFile) Truncate(size int64) error {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	o.file.Data = o.file.Data[:size:size]
	return nil
}

func (o openFile) Stat() (fs.FileInfo, error) {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	return o.f.files.Stat(o.name)
}

func (o openFile) Sync() error {
	o.f.called(&o.f.syncing, o.f.nameOf(o))
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	switch {
	case o.f.failing != nil:
		return o.f.failing
	case o.file.Mode.IsDir():
		o.f.synced = maps.Clone(o.f.files)
	case o.f.failingSyncs != nil:
		return o.f.failingSyncs
	default:
		o.f.platter[o.file] = slices.Clone(o.file.Data)
	}
	return nil
}

// nameOf is what a file is called now.
func (f *folder) nameOf(o openFile) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, file := range f.files {
		if file == o.file {
			return name
		}
	}
	return o.name
}

func (o openFile) Close() error { return nil }

// diskWorld is a world whose store has a disk.
type diskWorld struct {
	*world
	files *folder
	dir   string // where the lock is
	id    string
	boot  string
}

// newDiskWorld begins cold in an empty folder.
func newDiskWorld(t *testing.T, fields ...string) *diskWorld {
	w := &diskWorld{world: newWorld(t, fields...), files: newFolder(), dir: t.TempDir(), boot: "first"}
	w.open(t)
	return w
}

// open gives the world's store its disk, and reports whether that is warm.
func (w *diskWorld) open(t *testing.T) (found DiskFound) {
	t.Helper()
	found, err := w.h.Store.OpenDisk(DiskOptions{
		Dir: w.dir, MaxBytes: 16 << 20, MinLife: time.Nanosecond, Boot: w.boot, ID: w.id, FS: w.files,
	})
	if err == nil {
		w.id, err = w.h.Store.UseDisk(found.Warm)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// written waits until everything that was stored is on disk.
func (w *diskWorld) written() { w.h.Store.tier.Load().blobs.Load().Flush() }

// crash kills the process and starts another one, of which it tells what it
// found. The old store is ended: it would go on writing, to its own folder.
func (w *diskWorld) crash(t *testing.T) DiskFound {
	t.Helper()
	left := w.files.crashed()
	w.h.Store.Close()
	w.files = left
	return w.begin(t)
}

// powerCut ends the system at this moment and starts the process in its next run,
// of which it tells what it found.
func (w *diskWorld) powerCut(t *testing.T, random *rand.Rand) DiskFound {
	t.Helper()
	left := w.files.cutOff(random)
	w.h.Store.Close()
	if w.files = left; w.boot != "" {
		w.boot += " and another"
	}
	return w.begin(t)
}

// restart ends the process in order and starts another one.
func (w *diskWorld) restart(t *testing.T) DiskFound {
	t.Helper()
	w.h.Store.Close()
	return w.begin(t)
}

func (w *diskWorld) begin(t *testing.T) DiskFound {
	w.h = &Handler{Store: NewStore(Options{}), Policy: w.h.Policy, Event: w.h.Event}
	return w.open(t)
}
