package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/edgegw/edge/internal/datasync"
)

// Log is a small file of frames, for what must not be lost: each is on the
// platter before Append returns, and outlives the process when Write does. A
// frame is its length, its CRC-32C, both four bytes, and its text. It is not safe
// for concurrent use, but for Sync.
type Log struct {
	fs    FS
	path  string
	size  int64 // of what is known to be good
	base  int64 // size after the last rewrite
	dirty bool  // the file may be longer than size

	mu   sync.Mutex // for file to change, and for Sync to read it
	file File
}

const (
	logMagic = "edgeLog\x01"
	// rewriteAt is the size at which a log is rewritten, unless what must be
	// kept is itself that large.
	rewriteAt = 1 << 20
	maxFrame  = 256 << 20
)

// ReadLog gives the frames of the log of that name in a folder, and a Log that
// must be rewritten before anything is appended. intact is false when there is
// no log, or when a single bit of it is not as it was written; then there are
// no frames. An error means that the log could not be read at all.
func ReadLog(dir, name string, files FS) (l *Log, frames [][]byte, intact bool, err error) {
	if files == nil {
		files = systemFS{}
	}
	l = &Log{fs: files, path: filepath.Join(dir, name)}
	if err := files.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, false, err
	}
	file, err := files.OpenFile(l.path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil, false, nil
	}
	if err != nil {
		return nil, nil, false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, false, err
	}
	text := make([]byte, info.Size())
	if _, err := file.ReadAt(text, 0); err != nil {
		return l, nil, false, nil // damaged, whatever the reason
	}
	frames, intact = decodeFrames(text)
	return l, frames, intact, nil
}

// decodeFrames reads a whole log, or nothing.
func decodeFrames(text []byte) (frames [][]byte, intact bool) {
	if len(text) < len(logMagic) || string(text[:len(logMagic)]) != logMagic {
		return nil, false
	}
	for text = text[len(logMagic):]; len(text) > 0; {
		if len(text) < 8 {
			return nil, false
		}
		n, sum := binary.LittleEndian.Uint32(text), binary.LittleEndian.Uint32(text[4:])
		text = text[8:]
		if int64(n) > int64(len(text)) || crc32.Checksum(text[:n], castagnoli) != sum {
			return nil, false
		}
		frames = append(frames, text[:n:n])
		text = text[n:]
	}
	return frames, true
}

func appendFrame(b, frame []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(frame, castagnoli))
	return append(b, frame...)
}

// Append makes a frame durable. After an error the log is as it was before, or,
// if not even that succeeds, counts as damaged when it is read.
func (l *Log) Append(frame []byte) error { return l.append(frame, syncData) }

// Write is Append that does not wait for the platter: the frame outlives the
// process, and the system's end if Sync came before that.
func (l *Log) Write(frame []byte) error {
	return l.append(frame, func(File) error { return nil })
}

// append adds a frame, after which save is called.
func (l *Log) append(frame []byte, save func(File) error) error {
	if l.file == nil {
		return errors.New("log is not open: rewrite it first")
	}
	if len(frame) > maxFrame {
		return fmt.Errorf("frame of %d bytes: at most %d", len(frame), maxFrame)
	}
	if err := l.repair(); err != nil {
		return err
	}
	b := appendFrame(nil, frame)
	_, err := l.file.WriteAt(b, l.size)
	if err == nil {
		err = save(l.file)
	}
	if err != nil {
		l.dirty = true
		return errors.Join(err, l.repair())
	}
	l.size += int64(len(b))
	return nil
}

// Sync makes durable what was written before. It may be called while the log is
// used otherwise. After an error nothing is known of what was written since the
// last Sync.
func (l *Log) Sync() error {
	l.mu.Lock()
	file := l.file
	l.mu.Unlock()
	if file == nil {
		return nil
	}
	err := syncData(file)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != file {
		return nil // closed meanwhile, and replaced by what was synced
	}
	return err
}

// syncData syncs what was written, and of what is known about the file the
// length only.
func syncData(file File) error {
	if f, ok := file.(*os.File); ok {
		return datasync.File(f)
	}
	return file.Sync()
}

// repair cuts off what a failed write left behind.
func (l *Log) repair() error {
	if !l.dirty {
		return nil
	}
	if err := l.file.Truncate(l.size); err != nil {
		return err
	}
	l.dirty = false
	return nil
}

// Due reports that the log has outgrown both its bound and twice what the last
// rewrite had to keep.
func (l *Log) Due() bool { return l.size > max(rewriteAt, 2*l.base) }

// Rewrite replaces all frames, in one step.
func (l *Log) Rewrite(frames ...[]byte) error {
	b := []byte(logMagic)
	for _, frame := range frames {
		b = appendFrame(b, frame)
	}
	fresh := l.path + ".new"
	file, err := l.fs.OpenFile(fresh, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(b, 0)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = l.fs.Rename(fresh, l.path)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.use(file)
	l.size, l.base, l.dirty = int64(len(b)), int64(len(b)), false
	return l.syncDir()
}

// syncDir makes the file's name durable.
func (l *Log) syncDir() error {
	dir, err := l.fs.OpenFile(filepath.Dir(l.path), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Remove closes the log and removes its file for good.
func (l *Log) Remove() error {
	l.Close()
	if err := l.fs.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return l.syncDir()
}

// Close closes the file. What was written and not synced is left to the system.
func (l *Log) Close() { l.use(nil) }

// use puts a file in the place of the one before, which it closes.
func (l *Log) use(file File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // what had to be synced was
	}
	l.file = file
}
