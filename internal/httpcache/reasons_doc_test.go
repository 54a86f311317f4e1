package httpcache

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const reasonsPage = "../../docs/cache-status.md"

// codesIn reads the string constants of a source file whose names begin alike.
func codesIn(t *testing.T, file, beginning string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := make(map[string]string)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if !strings.HasPrefix(name.Name, beginning) || i >= len(spec.Values) {
				continue
			}
			value, ok := spec.Values[i].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: %s is no literal", file, name.Name)
				continue
			}
			code, err := strconv.Unquote(value.Value)
			if err != nil {
				t.Fatal(err)
			}
			codes[code] = name.Name
		}
		return false
	})
	if len(codes) == 0 {
		t.Fatalf("%s: no constant %s…", file, beginning)
	}
	return codes
}

func TestEveryReasonIsExplainedAndNoOther(t *testing.T) {
	codes := codesIn(t, "reasons.go", "Reason")
	for code, name := range codesIn(t, "../cacherules/verdict.go", "Veto") {
		codes[code] = name
	}
	page, err := os.ReadFile(reasonsPage)
	if err != nil {
		t.Fatal(err)
	}
	// A row of a table of codes says in its second cell where the code shows.
	row := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (?:[SLX ]+|–) \\| .+ \\| .+ \\|$")
	explained := make(map[string]bool)
	for _, found := range row.FindAllStringSubmatch(string(page), -1) {
		code := found[1]
		if explained[code] {
			t.Errorf("%s: %s stands twice", reasonsPage, code)
		}
		explained[code] = true
		if codes[code] == "" {
			t.Errorf("%s: %s is no reason: remove its row", reasonsPage, code)
		}
	}
	for code, name := range codes {
		if !explained[code] {
			t.Errorf("%s: %s (%s) has no row: say where it shows, what it means and what to do", reasonsPage, code, name)
		}
	}
}
