// Package backup keeps copies of what a gateway must not lose, in a folder or in a
// store that speaks S3, and brings them back. A copy counts once it has been read
// back from where it lies, unpacked, compared and tried: a marker beside it says
// so. What belongs to a gateway, and where it goes, the caller knows.
//
// An archive is a gzipped tar, encrypted by age if there is a key, so that it can be
// opened without edge: age -d -i KEY FILE | tar xz.
package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// MaxBytes is the most that the files of a backup may take, unpacked.
	MaxBytes = 256 << 20
	// format is the version of the archive's layout.
	format       = 1
	manifestName = "manifest.json"
)

// File is one file of a backup. Its name has slashes, and begins with the folder
// that says what kind of file it is.
type File struct {
	Name string
	Data []byte
	// From is where it was, for people; it may be empty.
	From string
}

// Manifest says what is in an archive. It comes first there.
type Manifest struct {
	Format int `json:"format"`
	// Lineage names the state that was copied, from its first backup on.
	Lineage string `json:"lineage"`
	// Created is when the copying began: what came later is not in it.
	Created time.Time `json:"created"`
	// Edge is the version that wrote it, Node the machine.
	Edge string `json:"edge,omitempty"`
	Node string `json:"node,omitempty"`
	// Fleet says that the journal of purges was in the fleet's Redis.
	Fleet bool   `json:"fleet,omitempty"`
	Files []Item `json:"files"`
}

// Item is a file in a manifest.
type Item struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	From   string `json:"from,omitempty"`
}

// Content is what is to be copied, or was.
type Content struct {
	Manifest Manifest
	Files    []File
}

// sum is a SHA-256 in hexadecimal.
func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// Pack writes an archive. It fills in the manifest's format and files. A nil key
// leaves it open to everybody.
func Pack(c Content, key *Key) ([]byte, error) {
	c.Manifest.Format, c.Manifest.Files = format, nil
	total := 0
	for _, f := range c.Files {
		if !goodName(f.Name) {
			return nil, fmt.Errorf("file %q: want a name such as state/purge.journal", f.Name)
		}
		if total += len(f.Data); total > MaxBytes {
			return nil, fmt.Errorf("%d files: want %d MiB together at most", len(c.Files), MaxBytes>>20)
		}
		c.Manifest.Files = append(c.Manifest.Files, Item{f.Name, int64(len(f.Data)), sum(f.Data), f.From})
	}
	head, err := json.MarshalIndent(c.Manifest, "", "\t")
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	for _, f := range slices.Concat([]File{{Name: manifestName, Data: head}}, c.Files) {
		err = errors.Join(err, archive.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: f.Name, Size: int64(len(f.Data)), Mode: 0o600, ModTime: c.Manifest.Created, Format: tar.FormatPAX,
		}))
		_, wrong := archive.Write(f.Data)
		err = errors.Join(err, wrong)
	}
	if err = errors.Join(err, archive.Close(), zipped.Close()); err != nil {
		return nil, err
	}
	return key.seal(packed.Bytes())
}

// goodName reports whether a name stays below the folder in which it is unpacked,
// and leads into a folder of its own.
func goodName(name string) bool {
	return filepath.IsLocal(filepath.FromSlash(name)) && path.Clean(name) == name && strings.Contains(name, "/") && !strings.ContainsAny(name, "\\\x00")
}

// Unpack reads an archive, and takes nothing on trust: each file that the manifest
// lists is there, once, as it was, and no other. With a key, an archive that is not
// encrypted is refused: anybody could have written it.
func Unpack(data []byte, key *Key) (Content, error) {
	packed, err := key.open(data)
	if err != nil {
		return Content{}, err
	}
	zipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return Content{}, fmt.Errorf("not a backup: %w", err)
	}
	limited := &io.LimitedReader{R: zipped, N: 2 * MaxBytes}
	files, err := readFiles(tar.NewReader(limited))
	if err == nil {
		// What follows the archive's end, and the checksum of the whole.
		_, err = io.Copy(io.Discard, limited)
	}
	if err == nil && limited.N == 0 {
		err = fmt.Errorf("want %d MiB at most", MaxBytes>>20)
	}
	if err != nil {
		return Content{}, fmt.Errorf("damaged backup: %w", err)
	}
	if len(files) == 0 || files[0].Name != manifestName {
		return Content{}, errors.New("damaged backup: it does not begin with its manifest")
	}
	var m Manifest
	if err := json.Unmarshal(files[0].Data, &m); err != nil {
		return Content{}, fmt.Errorf("damaged backup: %s: %w", manifestName, err)
	}
	if m.Format != format {
		return Content{}, fmt.Errorf("backup of format %d: want %d, or another edge", m.Format, format)
	}
	if err := m.compare(files[1:]); err != nil {
		return Content{}, fmt.Errorf("damaged backup: %w", err)
	}
	return Content{m, files[1:]}, nil
}

func readFiles(archive *tar.Reader) ([]File, error) {
	var files []File
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if head.Typeflag != tar.TypeReg {
			return nil, fmt.Errorf("%q is not a file", head.Name)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Name: head.Name, Data: data})
	}
}

// compare holds files against the manifest, names all differences, and fills in
// where the files were.
func (m *Manifest) compare(files []File) error {
	items := make(map[string]Item, len(m.Files))
	var errs []error
	for _, item := range m.Files {
		if _, twice := items[item.Name]; twice || !goodName(item.Name) {
			errs = append(errs, fmt.Errorf("manifest lists %q: want each name once, below a folder", item.Name))
		}
		items[item.Name] = item
	}
	for i, f := range files {
		item, listed := items[f.Name]
		delete(items, f.Name)
		switch {
		case !listed:
			errs = append(errs, fmt.Errorf("%q is not in the manifest, or there twice", f.Name))
		case item.Size != int64(len(f.Data)) || item.SHA256 != sum(f.Data):
			errs = append(errs, fmt.Errorf("%q is not what was copied", f.Name))
		}
		files[i].From = item.From
	}
	for _, item := range m.Files {
		if _, missing := items[item.Name]; missing {
			errs = append(errs, fmt.Errorf("%q is missing", item.Name))
		}
	}
	return errors.Join(errs...)
}
