package backup

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Marker stands beside an archive, and says that it is a backup: written whole,
// read back, and tried. Without it an archive is what an interruption has left.
type Marker struct {
	// Name is the archive's.
	Name    string    `json:"name"`
	Lineage string    `json:"lineage"`
	Created time.Time `json:"created"`
	SHA256  string    `json:"sha256"`
	Size    int64     `json:"size"`
	Files   int       `json:"files"`
	Node    string    `json:"node,omitempty"`
	// Encrypted says that it takes a key.
	Encrypted bool `json:"encrypted,omitempty"`
}

const (
	archiveSuffix = ".tar.gz"
	sealedSuffix  = ".tar.gz.age"
	markerSuffix  = ".json"
	namePrefix    = "edge-"
	nameTime      = "20060102T150405.000Z"
	// abandoned is the age from which an archive without a marker is nobody's work
	// any more.
	abandoned = 24 * time.Hour
)

// archiveName sorts by time within a lineage. Two gateways that came of one state may
// make a backup at one moment: what the sum begins with keeps them apart.
func archiveName(m Manifest, sum string, key *Key) string {
	suffix := archiveSuffix
	if key != nil {
		suffix = sealedSuffix
	}
	return namePrefix + m.Lineage + "-" + m.Created.UTC().Format(nameTime) + "-" + sum[:8] + suffix
}

// readMarker reads a marker from the object of that name.
func readMarker(name string, text []byte) (Marker, error) {
	var m Marker
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	if m.Name+markerSuffix != name || m.SHA256 == "" || m.Lineage == "" || m.Created.IsZero() {
		return m, fmt.Errorf("%s: want a marker of %s", name, strings.TrimSuffix(name, markerSuffix))
	}
	return m, nil
}

// newestFirst sorts markers.
func newestFirst(markers []Marker) {
	slices.SortFunc(markers, func(a, b Marker) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(b.Name, a.Name))
	})
}

// expired says what makes room in a store: the backups of a lineage beyond the
// newest ones that are kept, and archives of it that were never finished. Backups of
// other lineages stay, and so does the newest of this one, always.
func expired(now time.Time, objects []Object, markers []Marker, lineage string, keep int) []string {
	own := slices.DeleteFunc(slices.Clone(markers), func(m Marker) bool { return m.Lineage != lineage })
	newestFirst(own)
	var names []string
	marked := make(map[string]bool)
	for i, m := range own {
		marked[m.Name] = true
		if i >= max(1, keep) {
			// The marker first: what is half deleted is no backup.
			names = append(names, m.Name+markerSuffix, m.Name)
		}
	}
	for _, o := range objects {
		ours := strings.HasPrefix(o.Name, namePrefix+lineage+"-") && !strings.HasSuffix(o.Name, markerSuffix)
		if ours && !marked[o.Name] && len(own) > 0 && now.Sub(o.Modified) > abandoned {
			names = append(names, o.Name)
		}
	}
	return names
}

// ErrNone: there is no backup to choose.
var ErrNone = errors.New("no backup is there")

// Choose finds the backup to restore: the one named, or the newest. If several
// lineages are there, somebody has to say which.
func Choose(markers []Marker, name string) (Marker, error) {
	sorted := slices.Clone(markers)
	newestFirst(sorted)
	var lineages []string
	for _, m := range sorted {
		if m.Name == name {
			return m, nil
		}
		if !slices.Contains(lineages, m.Lineage) {
			lineages = append(lineages, m.Lineage)
		}
	}
	switch {
	case name != "":
		return Marker{}, fmt.Errorf("backup %q: %w: want one that edge backup --list shows", name, ErrNone)
	case len(lineages) == 0:
		return Marker{}, ErrNone
	case len(lineages) > 1:
		return Marker{}, fmt.Errorf("backups of %d different states are there (%s): say which by --backup NAME, as edge backup --list shows them", len(lineages), strings.Join(lineages, ", "))
	}
	return sorted[0], nil
}
