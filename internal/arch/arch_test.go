// Package arch holds the shape of the house: which package may import which,
// and how large a room may grow. It has tests only.
package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/edgegw/edge"

// arrows lists, for each package of ours, the packages of ours that its
// production code may import. DESIGN §3: they point inward only.
var arrows = map[string][]string{
	".":                            {"caddymodule"},
	"cmd/edge":                     {"caddymodule"},
	"caddymodule":                  {"internal/autoscale", "internal/backup", "internal/cacherules", "internal/cli", "internal/cloudflareips", "internal/coding", "internal/control", "internal/demo", "internal/deploy", "internal/disk", "internal/fleet", "internal/handover", "internal/health", "internal/httpcache", "internal/idleconn", "internal/lb", "internal/limit", "internal/logbatch", "internal/named", "internal/purge", "internal/purge/standin", "internal/purge/standin/cdn", "internal/rawhit", "internal/reason", "internal/replay", "internal/report", "internal/sample", "internal/sampling", "internal/setting", "internal/sharedcache", "internal/sighting", "internal/traffic", "internal/unit", "internal/warm"},
	"internal/named":               {},
	"internal/backup":              {},
	"internal/setting":             {},
	"internal/handover":            {},
	"internal/limit":               {},
	"internal/backup/standin":      {},
	"internal/unit":                {},
	"internal/coding":              {},
	"internal/datasync":            {},
	"internal/disk":                {"internal/datasync"},
	"internal/rawhit":              {"internal/idleconn"},
	"internal/idleconn":            {},
	"internal/health":              {},
	"internal/report":              {},
	"internal/report/standin":      {},
	"internal/otlp/standin":        {},
	"internal/replay":              {"internal/unit"},
	"internal/rawhit/streams":      {},
	"internal/reason":              {},
	"internal/cacherules":          {"internal/named", "internal/unit"},
	"internal/httpcache":           {"internal/cacherules", "internal/coding", "internal/disk", "internal/httpcache/residency", "internal/unit"},
	"internal/httpcache/residency": {},
	"internal/autoscale":           {"internal/named", "internal/reason", "internal/unit"},
	"internal/lb":                  {"internal/autoscale", "internal/named", "internal/process", "internal/reason", "internal/redisclient", "internal/transport", "internal/unit"},
	"internal/transport":           {},
	"internal/process":             {},
	"internal/purge":               {"internal/datasync", "internal/named", "internal/reason", "internal/unit"},
	"internal/purge/standin":       {},
	"internal/purge/standin/cdn":   {"internal/cacherules", "internal/purge/standin"},
	"internal/purge/history":       {},
	"internal/warm":                {},
	"internal/fleet":               {"internal/redisclient", "internal/unit"},
	"internal/deploy":              {"internal/unit"},
	"internal/traffic":             {},
	"internal/dashboard":           {},
	"internal/control":             {"internal/dashboard", "internal/deploy", "internal/purge", "internal/unit"},
	"internal/cli":                 {"internal/control", "internal/deploy", "internal/purge", "internal/unit"},
	"internal/sighting":            {"internal/cacherules"},
	"internal/redisclient":         {},
	"internal/redistest":           {}, // for tests and the bench: nobody's arrow leads there
	"internal/browsertest":         {}, // for tests likewise
	"scripts/site":                 {},
	"internal/sharedcache":         {"internal/redisclient", "internal/unit"},
	"internal/sample":              {},
	"internal/sampling":            {},
	"internal/logbatch":            {},
	"internal/cloudflareips":       {},
	"internal/freeport":            {},
	"internal/demo":                {"internal/freeport", "internal/purge/standin", "internal/reason", "internal/unit"},
}

// foreign names what only the outermost packages may import.
var foreign = map[string][]string{
	"github.com/caddyserver/":             {"caddymodule", "cmd/edge"},
	"go.uber.org/zap":                     {"caddymodule"},
	"go.opentelemetry.io/otel":            {"caddymodule"},
	"go.opentelemetry.io/contrib/":        {"caddymodule"},
	"go.opentelemetry.io/proto/":          {"internal/otlp/standin"},
	"github.com/prometheus/":              {"caddymodule"},
	"github.com/cloudflare/cloudflare-go": {"internal/cloudflareips", "internal/purge"},
	"github.com/getsentry/":               {"internal/report"},
	"github.com/minio/":                   {"internal/backup"},
	"filippo.io/":                         {"internal/backup"},
	"github.com/rclone/":                  {"internal/backup/standin"},
	"github.com/redis/":                   {"internal/fleet", "internal/lb", "internal/redisclient", "internal/sharedcache"},
}

const (
	maxFileLines     = 400
	maxFunctionLines = 60
)

type source struct {
	dir  string // relative to the module root, with slashes
	name string
	test bool
	file *ast.File
	set  *token.FileSet
	text string
}

// sources parses every Go file of this module; bench and packaging are modules of
// their own.
func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var all []source
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); p != root && (name == "bench" || name == "packaging" || name == "testdata" || strings.HasPrefix(name, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, p, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		all = append(all, source{
			dir: path.Dir(rel), name: rel, test: strings.HasSuffix(p, "_test.go"),
			file: file, set: set, text: string(text),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d Go files under %s: want the whole module", len(all), root)
	}
	return all
}

func imports(s source) []string {
	var paths []string
	for _, spec := range s.file.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, `"`))
	}
	return paths
}

func among(list []string, dir string) bool {
	for _, allowed := range list {
		if dir == allowed {
			return true
		}
	}
	return false
}

func TestArrowsPointInwardOnly(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		allowed, known := arrows[s.dir]
		if !known {
			t.Errorf("%s: package %s has no place in the house: add it to arrows, and to docs/architecture.md", s.name, s.dir)
			continue
		}
		for _, imported := range imports(s) {
			ours, isOurs := strings.CutPrefix(imported, module+"/")
			if isOurs && !among(allowed, ours) {
				t.Errorf("%s imports %s: %s may import only %v", s.name, ours, s.dir, allowed)
			}
			for prefix, homes := range foreign {
				if strings.HasPrefix(imported, prefix) && !among(homes, s.dir) {
					t.Errorf("%s imports %s: only %v may", s.name, imported, homes)
				}
			}
		}
	}
}

func TestProductionCodeDoesNotLinkTesting(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range imports(s) {
			if !s.test && (imported == "testing" || strings.HasPrefix(imported, "testing/") || imported == "net/http/httptest") {
				t.Errorf("%s imports %s", s.name, imported)
			}
		}
	}
}

func TestTheCloudflareRootPackageStaysOut(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range imports(s) {
			if imported == "github.com/cloudflare/cloudflare-go/v7" {
				t.Errorf("%s imports %s: use its sub-packages cache, zones and option (the root costs 17 MB)", s.name, imported)
			}
		}
	}
}

func TestRoomsStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		if lines := strings.Count(s.text, "\n"); lines > maxFileLines {
			t.Errorf("%s has %d lines: at most %d", s.name, lines, maxFileLines)
		}
		for _, declaration := range s.file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			first, last := s.set.Position(f.Pos()).Line, s.set.Position(f.End()).Line
			if lines := last - first + 1; lines > maxFunctionLines && !s.test {
				t.Errorf("%s:%d: %s has %d lines: at most %d", s.name, first, f.Name.Name, lines, maxFunctionLines)
			}
		}
	}
}

func TestNoTestIsSkippedAndNoneSleeps(t *testing.T) {
	skip, sleep := ".Ski"+"p", "time.Slee"+"p("
	for _, s := range sources(t) {
		if !s.test || s.dir == "internal/arch" {
			continue
		}
		for number, line := range strings.Split(s.text, "\n") {
			if strings.Contains(line, "t"+skip+"(") || strings.Contains(line, skip+"Now(") || strings.Contains(line, skip+"f(") {
				t.Errorf("%s:%d skips: a test that cannot run must fail", s.name, number+1)
			}
			if strings.Contains(line, sleep) && !strings.Contains(s.text, "testing/synctest") {
				t.Errorf("%s:%d sleeps: pass the time in, or use synctest", s.name, number+1)
			}
		}
	}
}
