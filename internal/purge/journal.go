package purge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/edgegw/edge/internal/datasync"
)

// Journal makes records durable. The coordinator serialises its calls.
type Journal interface {
	// Load gives every record in its latest state, in the order in which they
	// were accepted, and the highest generation ever journaled.
	Load() ([]Record, uint64)
	// Append makes a state of a record durable before it returns. whole says
	// that the order's selectors go along; they need to only once.
	Append(r Record, whole bool) error
	// Due reports whether it is time to Rewrite.
	Due() bool
	// Rewrite replaces all that was journaled. When it fails, what was
	// journaled before is still there.
	Rewrite(records []Record, generation uint64) error
	Close() error
}

const (
	journalName = "purge.journal"
	// rewriteAt is the size at which a journal is rewritten, unless what must
	// be kept is itself that large.
	rewriteAt = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// FileJournal appends lines to a file, each a CRC-32C in hexadecimal, a space
// and JSON, and syncs each to disk.
type FileJournal struct {
	path       string
	file       *os.File
	size       int64 // of what is known to be good
	base       int64 // size after the last rewrite
	dirty      bool  // the file may be longer than size
	records    []Record
	generation uint64
	damaged    bool
}

// line is one line of the journal: an order's state, or the generation below
// which no later one may fall.
type line struct {
	Generation uint64  `json:"generation,omitempty"`
	Whole      bool    `json:"whole,omitempty"`
	Record     *Record `json:"record,omitempty"`
}

// OpenJournal opens the journal in dir, creating both if need be, and writes it
// afresh. Lines that a crash tore or a disk damaged are dropped and reported;
// all others stand. It is an error when dir does not take new files.
func OpenJournal(dir string, event func(Event)) (*FileJournal, error) {
	j := &FileJournal{path: filepath.Join(dir, journalName)}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = j.read(event)
	}
	if err == nil {
		err = j.Rewrite(j.records, j.generation)
	}
	if err != nil {
		return nil, fmt.Errorf("purge journal: %w: want a directory that edge may write to", err)
	}
	return j, nil
}

func (j *FileJournal) read(event func(Event)) error {
	data, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	read := decodeJournal(data)
	j.records, j.generation = read.records, read.generation
	j.damaged = read.dropped > 0
	if j.damaged {
		reporter(event).send(Event{Kind: JournalTorn, Detail: fmt.Sprintf("%d damaged lines dropped, %d orders kept", read.dropped, len(read.records))})
	}
	return nil
}

// Load gives what was in the file when it was opened.
func (j *FileJournal) Load() ([]Record, uint64) { return j.records, j.generation }

// Damaged reports that lines were dropped when the journal was opened: orders
// may be missing.
func (j *FileJournal) Damaged() bool { return j.damaged }

// Append writes and syncs one line. After an error the file is as before.
func (j *FileJournal) Append(r Record, whole bool) error {
	if !whole {
		r.Order = Order{ID: r.ID}
	}
	text, err := encodeLine(line{Whole: whole, Record: &r})
	if err != nil {
		return err
	}
	if err := j.repair(); err != nil {
		return err
	}
	_, err = j.file.Write(text)
	if err == nil {
		err = datasync.File(j.file)
	}
	if err != nil {
		j.dirty = true
		return errors.Join(err, j.repair())
	}
	j.size += int64(len(text))
	return nil
}

// repair cuts off what a failed write left behind.
func (j *FileJournal) repair() error {
	if !j.dirty {
		return nil
	}
	if err := j.file.Truncate(j.size); err != nil {
		return err
	}
	j.dirty = false
	return nil
}

// Due reports whether the file has outgrown both its bound and twice what the
// last rewrite had to keep.
func (j *FileJournal) Due() bool { return j.size > max(rewriteAt, 2*j.base) }

// Rewrite puts a new file in place of the old one, in one step.
func (j *FileJournal) Rewrite(records []Record, generation uint64) error {
	var text bytes.Buffer
	head, err := encodeLine(line{Generation: generation})
	if err != nil {
		return err
	}
	text.Write(head)
	for _, r := range records {
		entry, err := encodeLine(line{Whole: true, Record: &r})
		if err != nil {
			return err
		}
		text.Write(entry)
	}
	file, err := replaceFile(j.path, text.Bytes())
	if err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	if j.file != nil {
		_ = j.file.Close() // what matters of it is in the new file, synced
	}
	j.file, j.size, j.base, j.dirty = file, int64(text.Len()), int64(text.Len()), false
	return nil
}

// replaceFile writes a file beside path, renames it to path, and returns it
// open for appending.
func replaceFile(path string, data []byte) (*os.File, error) {
	fresh := path + ".new"
	file, err := os.OpenFile(fresh, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	// From here on the old file has no name any more: an error of this sync
	// must not make us go on with it.
	_ = syncDir(filepath.Dir(path))
	return file, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the file; every line in it was synced when it was written.
func (j *FileJournal) Close() error { return j.file.Close() }

func encodeLine(l line) ([]byte, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text), nil
}

// contents is what a journal's bytes say.
type contents struct {
	records    []Record
	generation uint64
	dropped    int // lines that are not good
}

// decodeJournal reads whatever it is given. A damaged line costs that line
// only; a state without its order is damage too.
func decodeJournal(data []byte) contents {
	var c contents
	at := make(map[string]int)
	for pos := 0; pos < len(data); {
		end := bytes.IndexByte(data[pos:], '\n')
		if end < 0 {
			c.dropped++ // a torn tail
			break
		}
		l, ok := decodeLine(data[pos : pos+end])
		pos += end + 1
		if !ok || !c.apply(l, at) {
			c.dropped++
		}
	}
	return c
}

func (c *contents) apply(l line, at map[string]int) bool {
	c.generation = max(c.generation, l.Generation)
	if l.Record == nil {
		return true
	}
	r := *l.Record
	c.generation = max(c.generation, r.Generation)
	i, known := at[r.ID]
	switch {
	case r.ID == "" || (!known && !l.Whole):
		return false
	case !known:
		at[r.ID] = len(c.records)
		c.records = append(c.records, r)
	default:
		if !l.Whole {
			r.Order = c.records[i].Order
		}
		c.records[i] = r
	}
	return true
}

func decodeLine(text []byte) (line, bool) {
	var l line
	if len(text) < 10 || text[8] != ' ' {
		return l, false
	}
	sum, err := strconv.ParseUint(string(text[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(text[9:], castagnoli) {
		return l, false
	}
	return l, json.Unmarshal(text[9:], &l) == nil
}
