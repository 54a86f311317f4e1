package caddymodule

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// documentsOf are the documents that have examples: README.md and all that is in docs and
// packaging, by their path from the top.
func documentsOf(t *testing.T) map[string]string {
	t.Helper()
	pages := make(map[string]string)
	take := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pages[strings.TrimPrefix(filepath.ToSlash(path), "../")] = string(text)
	}
	take("../README.md")
	for _, folder := range []string{"../docs", "../packaging"} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".md") {
				take(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return pages
}

// wrappings are the places in a Caddyfile in which a fragment may stand.
var wrappings = []string{
	"%s",
	"{\n%s\n}",
	"{\nedge {\n%s\n}\n}",
	"{\nedge {\npool app {\n%s\n}\n}\n}",
	"{\nedge {\npool app {\ndiscover static 127.0.0.1:1\n}\n}\n}\nexample.com {\n%s\n}",
	"{\nedge {\npool app {\nautoscale {\n%s\n}\n}\n}\n}",
	"{\nservers {\n%s\n}\n}",
}

// notOurs are examples that this program does not read, by page and first line, each
// with why.
var notOurs = map[string]string{
	"docs/extending.md: discover env APP_REPLICAS {": "the discovery that the reader writes",
	"docs/extending.md: policy proportional":         "the policy that the reader writes",
	"docs/extending.md: edge_rules {":                "the kind of rule that the reader writes",
	"docs/extending.md: edge {":                      "the cache behind another purger that the reader writes",
}

// Every example of a Caddyfile in a document is one: whole, or in some place of one.
func TestEveryCaddyfileInADocumentIsOne(t *testing.T) {
	block := regexp.MustCompile("(?ms)^[ \t]*```caddyfile\n(.*?)^[ \t]*```")
	checked, left := 0, make(map[string]bool)
	for page, text := range documentsOf(t) {
		for _, found := range block.FindAllStringSubmatch(text, -1) {
			first, _, _ := strings.Cut(found[1], "\n")
			if name := page + ": " + first; notOurs[name] != "" {
				left[name] = true
				continue
			}
			var errs []string
			for _, wrapping := range wrappings {
				got := outcome(strings.Replace(wrapping, "%s", found[1], 1))
				if strings.HasPrefix(got, "{") || strings.HasPrefix(got, "warning:") {
					errs = nil
					break
				}
				errs = append(errs, strings.TrimSpace(got))
			}
			if errs != nil {
				t.Errorf("%s: no place of a Caddyfile takes\n%s\n%s", page, found[1], strings.Join(errs, "\n"))
			}
			checked++
		}
	}
	if checked < 30 {
		t.Errorf("found %d examples: want those of all pages", checked)
	}
	for name, why := range notOurs {
		if !left[name] {
			t.Errorf("there is no example %q any more (%s)", name, why)
		}
	}
}

// vocabulary is what the sources know of a Caddyfile.
type vocabulary struct {
	words    map[string]string // what is read, and where
	literals map[string]bool   // all texts of the program
}

// readVocabulary goes through the sources: the keys of blocks' words, the options of
// what has a name in the configuration, those names, and directives.
func readVocabulary(t *testing.T) vocabulary {
	t.Helper()
	v := vocabulary{make(map[string]string), make(map[string]bool)}
	for _, folder := range []string{".", "../internal/lb", "../internal/autoscale", "../internal/purge", "../internal/cacherules", "../internal/backup"} {
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				v.take(file, n)
				return true
			})
		}
	}
	return v
}

func (v vocabulary) take(file string, n ast.Node) {
	switch n := n.(type) {
	case *ast.BasicLit:
		if text, ok := literal(n); ok {
			v.literals[text] = true
			v.literals[text[strings.LastIndexByte(text, '.')+1:]] = true // the last part of a module's name is its word
		}
	case *ast.CompositeLit:
		if !isWords(n.Type) {
			return
		}
		for _, element := range n.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				v.add(file, pair.Key)
			}
		}
	case *ast.CallExpr:
		name, ok := n.Fun.(*ast.SelectorExpr)
		switch {
		case !ok:
		case name.Sel.Name == "Want" && len(n.Args) > 3: // see named.Spec
			for _, option := range n.Args[3:] {
				v.add(file, option)
			}
		case name.Sel.Name == "Register" && len(n.Args) == 3, strings.HasPrefix(name.Sel.Name, "RegisterHandlerDirective"):
			v.add(file, n.Args[0])
		}
	}
}

func (v vocabulary) add(file string, n ast.Expr) {
	if text, ok := literal(n); ok {
		v.words[text] = filepath.Base(file)
	}
}

func literal(n ast.Node) (string, bool) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

// isWords reports the type of a block's words.
func isWords(n ast.Expr) bool {
	switch n := n.(type) {
	case *ast.Ident:
		return n.Name == "words"
	case *ast.MapType:
		function, ok := n.Value.(*ast.FuncType)
		if !ok || function.Params == nil || len(function.Params.List) != 1 {
			return false
		}
		star, ok := function.Params.List[0].Type.(*ast.StarExpr)
		if !ok {
			return false
		}
		selector, ok := star.X.(*ast.SelectorExpr)
		return ok && selector.Sel.Name == "Dispenser"
	}
	return false
}

// The reference has every word that is read, and none that is not.
func TestTheReferenceHasEveryWord(t *testing.T) {
	documents := documentsOf(t)
	page := documents["docs/configuration.md"]
	v := readVocabulary(t)
	if len(v.words) < 120 {
		t.Fatalf("found %d words in the sources: want all", len(v.words))
	}
	// The words of drivers stand where scaling is explained.
	both := page + documents["docs/autoscaling.md"]
	code := strings.Join(regexp.MustCompile("(?s)```.*?```|`[^`\n]+`").FindAllString(both, -1), "\n")
	for word, file := range v.words {
		if !regexp.MustCompile(`(^|[^a-z_])` + regexp.QuoteMeta(word) + `($|[^a-z_])`).MatchString(code) {
			t.Errorf("docs/configuration.md and autoscaling.md do not have %s, which %s reads", word, file)
		}
	}
	rows := regexp.MustCompile("(?m)^\\| ((?:`[^`\n]+`(?:, )?)+)[^|\n]* \\|").FindAllStringSubmatch(v.tables(page), -1)
	if len(rows) < 100 {
		t.Fatalf("found %d rows of words: want those of all tables", len(rows))
	}
	for _, row := range rows {
		for _, word := range regexp.MustCompile(`[a-z][a-z0-9_]+`).FindAllString(regexp.MustCompile(`\w+://\S+|[A-Z][A-Z_|…/:]*[a-z]*|"[^"]*"`).ReplaceAllString(row[1], ""), -1) {
			if !v.literals[word] {
				t.Errorf("docs/configuration.md has %s, in %q: nothing reads that", word, row[1])
			}
		}
	}
}

// tables are those of a page whose first column is of words.
func (vocabulary) tables(page string) string {
	var kept strings.Builder
	inside := false
	for _, line := range strings.Split(page, "\n") {
		switch {
		case strings.HasPrefix(line, "| word |"):
			inside = true
		case !strings.HasPrefix(line, "|"):
			inside = false
		}
		if inside {
			kept.WriteString(line + "\n")
		}
	}
	return kept.String()
}

// anchor is what a heading is linked by.
func anchor(heading string) string {
	heading = strings.ToLower(regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1"))
	return strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(heading, ""), " ", "-")
}

// Every link of a document leads to a file that there is, and to a heading in it.
func TestLinksOfDocumentsLeadSomewhere(t *testing.T) {
	documents := documentsOf(t)
	anchors := make(map[string]bool)
	fences := regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	for name, text := range documents {
		for _, found := range regexp.MustCompile(`(?m)^#+ +(.*)$`).FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			anchors[name+"#"+anchor(found[1])] = true
		}
	}
	links := 0
	for name, text := range documents {
		for _, found := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			target, heading, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			links++
			path := name
			if target != "" {
				path = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
			}
			if _, err := os.Stat("../" + path); err != nil {
				t.Errorf("%s links %s, which is not there", name, found[1])
				continue
			}
			if _, known := documents[path]; known && heading != "" && !anchors[path+"#"+heading] {
				t.Errorf("%s links %s: %s has no such heading", name, found[1], path)
			}
		}
	}
	if links < 150 {
		t.Errorf("found %d links: want those of all pages", links)
	}
}

// What docs/capacity.md says of edge_hits is what its table has: the bounds are the
// least and the most, rounded.
func TestWhatHitsOnTheConnectionSaveIsWhatWasMeasured(t *testing.T) {
	page := documentsOf(t)["docs/capacity.md"]
	micros := make(map[string]float64)
	for _, row := range regexp.MustCompile("(?m)^\\| (hit of .*), (`edge_hits`|through the chain) \\| ([0-9.]+) µs").FindAllStringSubmatch(page, -1) {
		took, err := strconv.ParseFloat(row[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		micros[row[1]+row[2]] = took
	}
	least, most := math.Inf(1), 0.0
	for name, took := range micros {
		if what, through := strings.CutSuffix(name, "through the chain"); through {
			times := took / micros[what+"`edge_hits`"]
			least, most = min(least, times), max(most, times)
		}
	}
	words := []string{2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
	said := regexp.MustCompile(`divides the first by (\w+) \(over TLS\) to (\w+) `).FindStringSubmatch(page)
	if len(micros) < 8 || said == nil || said[1] != words[int(math.Round(least))] || said[2] != words[int(math.Round(most))] {
		t.Errorf("%d rows, of which the chain takes %.2f to %.2f times as much as edge_hits: the page says %q", len(micros), least, most, said)
	}
}
