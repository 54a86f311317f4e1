// Command licences reads a bill of materials (CycloneDX, JSON) with the licences of
// what edge contains, fails if there is one that is not allowed, and gathers the texts
// that must go with a binary. It is run in the folder packaging: go run ./licences
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// allowed are the licences, by their names in SPDX's list, under which a module may be
// part of edge, which is under Apache-2.0: those that ask for no more than their text, and
// MPL-2.0, whose files stay as they are.
var allowed = []string{
	"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-Source-Code", "CC0-1.0",
	"ISC", "MIT", "MPL-2.0", "OFL-1.1-no-RFN", "Unlicense", "Zlib",
}

// component is a module in a bill of materials.
type component struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Licenses []struct {
		License struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"license"`
		Expression string `json:"expression"`
	} `json:"licenses"`
}

func main() {
	sbom := flag.String("sbom", "", "the bill of materials, a `file`; required")
	module := flag.String("module", "..", "`folder` of the module that it is of")
	texts := flag.String("texts", "", "`file` to write the texts of all licences to")
	flag.Parse()
	if *sbom == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "licences: want -sbom FILE, and no arguments")
		os.Exit(2)
	}
	if err := run(*sbom, *module, *texts); err != nil {
		fmt.Fprintf(os.Stderr, "licences: %v\n", err)
		os.Exit(1)
	}
}

func run(sbom, module, texts string) error {
	data, err := os.ReadFile(sbom)
	if err != nil {
		return err
	}
	components, err := read(data)
	if err != nil {
		return fmt.Errorf("%s: %w", sbom, err)
	}
	if err := check(components); err != nil {
		return err
	}
	fmt.Printf("%d modules, each under a licence that is allowed\n", len(components))
	if texts == "" {
		return nil
	}
	folders, err := foldersOf(module)
	if err != nil {
		return err
	}
	golang, folder, err := goItself(module)
	if err != nil {
		return err
	}
	folders[golang.Name+" "+golang.Version] = folder
	gathered, err := gather(append(components, golang), folders)
	if err != nil {
		return err
	}
	return os.WriteFile(texts, gathered, 0o644)
}

func read(data []byte) ([]component, error) {
	var bill struct {
		Format     string      `json:"bomFormat"`
		Components []component `json:"components"`
	}
	if err := json.Unmarshal(data, &bill); err != nil {
		return nil, err
	}
	if bill.Format != "CycloneDX" || len(bill.Components) == 0 {
		return nil, fmt.Errorf("bomFormat %q with %d components: want CycloneDX, and some", bill.Format, len(bill.Components))
	}
	return bill.Components, nil
}

// check names every module without an allowed licence. One with several licences may be
// used under any of them only where its own text says so, so all must be allowed.
func check(components []component) error {
	var errs []error
	for _, c := range components {
		if len(c.Licenses) == 0 {
			errs = append(errs, fmt.Errorf("%s %s: no licence was found", c.Name, c.Version))
		}
		for _, l := range c.Licenses {
			name := l.License.ID
			if name == "" {
				name = l.License.Name + l.Expression
			}
			if !slices.Contains(allowed, name) {
				errs = append(errs, fmt.Errorf("%s %s: licence %q: want one of %s", c.Name, c.Version, name, strings.Join(allowed, ", ")))
			}
		}
	}
	return errors.Join(errs...)
}

// foldersOf are those of the modules that a module is built of, by NAME VERSION.
func foldersOf(module string) (map[string]string, error) {
	list := exec.Command("go", "list", "-m", "-f", "{{with .Replace}}{{.}}{{else}}{{.}}{{end}}\t{{.Dir}}", "all")
	list.Dir = module
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.Bytes())
	}
	folders := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		name, folder, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		folders[name] = folder
	}
	return folders, nil
}

// goItself is what every binary has of the toolchain: runtime and standard library.
func goItself(module string) (c component, folder string, err error) {
	env := exec.Command("go", "env", "GOVERSION", "GOROOT")
	env.Dir = module
	out, err := env.Output()
	words := strings.Fields(string(out))
	if err != nil || len(words) != 2 {
		return component{}, "", fmt.Errorf("go env: %q, %w", out, err)
	}
	return component{Name: "Go", Version: words[0]}, words[1], nil
}

// legal are the names of files that a licence asks to be passed on.
var legal = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|copyright|notice|patents)([._-].*)?$`)

// gather joins the texts, each after a line with its module.
func gather(components []component, folders map[string]string) ([]byte, error) {
	var all bytes.Buffer
	var errs []error
	for _, c := range components {
		folder := folders[c.Name+" "+c.Version]
		if folder == "" {
			errs = append(errs, fmt.Errorf("%s %s: go list has no folder for it", c.Name, c.Version))
			continue
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(&all, "==== %s %s\n\n", c.Name, c.Version)
		found := 0
		for _, e := range entries {
			if !legal.MatchString(e.Name()) || !e.Type().IsRegular() {
				continue
			}
			text, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				errs = append(errs, err)
				continue
			}
			found++
			fmt.Fprintf(&all, "---- %s\n\n%s\n\n", e.Name(), bytes.TrimSpace(text))
		}
		if found == 0 {
			errs = append(errs, fmt.Errorf("%s %s: no text of a licence in %s", c.Name, c.Version, folder))
		}
	}
	return all.Bytes(), errors.Join(errs...)
}
