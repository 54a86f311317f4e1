// Command pool holds edge's pool, and its peers, to what a pool must reach, with
// real replicas behind real sockets. It is run in the folder bench: go run ./pool
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/edgegw/edge/bench/command"
)

type options struct {
	out  string
	only string
	kept string
}

func main() {
	log.SetFlags(log.Ltime)
	if len(os.Args) > 1 && os.Args[1] == "replica" {
		if err := serveReplica(os.Args[2:]); err != nil {
			log.Fatal(err)
		}
		return
	}
	o := options{}
	flag.StringVar(&o.out, "out", "POOL.md", "`file` to write; - for standard output")
	flag.StringVar(&o.only, "only", "", "only these `trials`, separated by commas: "+strings.Join(keys(), ", "))
	flag.StringVar(&o.kept, "kept", "", "`file` that keeps what trials found, for the page of a later run of others")
	flag.Parse()
	command.Main(run, o)
}

// trial plays one situation.
type trial struct {
	key string
	run func(context.Context, *stand) ([]row, error)
}

// row is one criterion.
type row struct {
	Criterion string
	Does      string
	Bound     string
	Virtual   string            // the tests that hold it in virtual time
	Numbers   map[string]string // by contestant
	Held      bool              // by edge
}

var trials = []trial{
	{"slow", slow}, {"failing", failingFast}, {"outage", outage}, {"overload", overload}, {"capacity", capacity},
	{"resolver", resolver}, {"kill", kill}, {"stale", stale}, {"hedge", hedge}, {"newcomer", newcomer}, {"steady", steady}, {"acquire", acquire},
}

func keys() (all []string) {
	for _, t := range trials {
		all = append(all, t.key)
	}
	return all
}

func (o options) chosen() ([]trial, error) {
	if o.only == "" {
		return trials, nil
	}
	var chosen []trial
	for word := range strings.SplitSeq(o.only, ",") {
		i := slices.Index(keys(), word)
		if i < 0 {
			return nil, fmt.Errorf("-only %q: want one of %s", word, strings.Join(keys(), ", "))
		}
		chosen = append(chosen, trials[i])
	}
	return chosen, nil
}

// run plays what was chosen and writes the page. That a criterion is not held is
// an error, though the page is written.
func run(ctx context.Context, o options) error {
	chosen, err := o.chosen()
	if err != nil {
		return err
	}
	found, err := o.load()
	if err != nil {
		return err
	}
	return command.Scratch("pool", func(dir string) (err error) {
		s, err := newStand(ctx, dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		for _, t := range chosen {
			log.Print(t.key)
			rows, err := t.run(ctx, s)
			if err != nil {
				return fmt.Errorf("%s: %w", t.key, err)
			}
			found[t.key] = rows
			// An interrupted run leaves what it has found.
			if err := errors.Join(o.save(found), command.Write(o.out, page(s.versions, found))); err != nil {
				return err
			}
		}
		return verdict(found)
	})
}

// load reads what earlier runs found.
func (o options) load() (map[string][]row, error) {
	found := make(map[string][]row)
	if o.kept == "" {
		return found, nil
	}
	text, err := os.ReadFile(o.kept)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, fmt.Errorf("%s: %w", o.kept, err)
	}
	return found, nil
}

func (o options) save(found map[string][]row) error {
	if o.kept == "" {
		return nil
	}
	text, err := json.Marshal(found)
	if err != nil {
		return err
	}
	return os.WriteFile(o.kept, text, 0o644)
}

// verdict names what edge does not hold.
func verdict(found map[string][]row) error {
	var errs []error
	for _, key := range keys() {
		for _, r := range found[key] {
			if !r.Held {
				errs = append(errs, fmt.Errorf("not held: %s: %s: want %s", r.Criterion, r.Numbers[edge.name], r.Bound))
			}
		}
	}
	return errors.Join(errs...)
}
