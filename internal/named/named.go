// Package named maps words of the configuration to constructors. It is the one
// mechanism behind policies, discoveries, purgers and rule kinds: each
// implementation is a file that registers itself in init, and a contract test
// that loops over Names tests newcomers before their author writes a test.
package named

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Spec is a name and its words, as the operator wrote them: the rest of the
// line in Args, the lines of a block in Options.
type Spec struct {
	Name    string              `json:"name"`
	Args    []string            `json:"args,omitempty"`
	Options map[string][]string `json:"options,omitempty"`
}

// String is the spec as it would stand in a Caddyfile, without its block.
func (s Spec) String() string {
	return strings.Join(append([]string{s.Name}, s.Args...), " ")
}

// Want checks the shape of a spec: how many arguments it has, and that it has
// no option but the named ones. It returns every mistake at once.
func (s Spec) Want(minArgs, maxArgs int, usage string, options ...string) []error {
	var errs []error
	if len(s.Args) < minArgs || len(s.Args) > maxArgs {
		errs = append(errs, fmt.Errorf("%s: got %d arguments: want %s", s, len(s.Args), usage))
	}
	for _, word := range slices.Sorted(maps.Keys(s.Options)) {
		if slices.Contains(options, word) {
			continue
		}
		if len(options) == 0 {
			errs = append(errs, fmt.Errorf("%s: unknown word %q: it takes no block", s, word))
			continue
		}
		errs = append(errs, fmt.Errorf("%s: unknown word %q: want one of %s", s, word, strings.Join(options, ", ")))
	}
	return errs
}

// Registry maps names to constructors of T. The zero value is ready. Register
// is for init functions only; everything else may be called concurrently.
type Registry[T any] struct {
	entries map[string]entry[T]
}

type entry[T any] struct {
	build   func(Spec) (T, error)
	example Spec
}

// Register adds a constructor under a name. The example is a spec that the
// constructor accepts; contract tests and generated documents use it. A name
// registered twice is a programming mistake and panics.
func (r *Registry[T]) Register(name string, build func(Spec) (T, error), example Spec) {
	if _, taken := r.entries[name]; taken {
		panic("named: " + name + " registered twice")
	}
	if r.entries == nil {
		r.entries = make(map[string]entry[T])
	}
	example.Name = name
	r.entries[name] = entry[T]{build: build, example: example}
}

// New builds the implementation that the spec names.
func (r *Registry[T]) New(s Spec) (T, error) {
	e, ok := r.entries[s.Name]
	if !ok {
		var none T
		return none, fmt.Errorf("unknown name %q: want one of %s", s.Name, strings.Join(r.Names(), ", "))
	}
	return e.build(s)
}

// Names lists what is registered, sorted.
func (r *Registry[T]) Names() []string {
	return slices.Sorted(maps.Keys(r.entries))
}

// Example is the registered example of a name.
func (r *Registry[T]) Example(name string) Spec {
	return r.entries[name].example
}
