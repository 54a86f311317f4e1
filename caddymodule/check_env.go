package caddymodule

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/setting"
)

// environment is where a configuration is to run, as edge check --env says; empty
// for anywhere, where only what is wrong everywhere is said.
type environment string

// concern is what may be worse in one environment than in another.
type concern int

const (
	lacking    concern = iota // a value that is not there, or cannot be meant so
	guessable                 // a secret that can be guessed
	unanswered                // something else does not answer, or says no
	nobody                    // no replica is there now
	caution                   // what will be regretted on a bad day
)

// severities say how bad a concern is; an empty one is not said.
var severities = map[environment]map[concern]string{
	"":           {unanswered: "warning"},
	"production": {lacking: "error", guessable: "error", unanswered: "error", nobody: "error", caution: "warning"},
	"staging":    {lacking: "error", guessable: "error", unanswered: "error", nobody: "warning"},
	"preview":    {lacking: "error", guessable: "warning", unanswered: "warning", nobody: "warning"},
}

// check says which environments there are.
func (e environment) check() error {
	if _, known := severities[e]; !known {
		return fmt.Errorf("--env %q: want production, staging or preview", string(e))
	}
	return nil
}

// mention is a placeholder in the configuration.
type mention struct {
	text, kind, name string // such as {env.X}, env, X
	word             string // that its line begins with
	place            string // file and line
}

var placeholder = regexp.MustCompile(`\{(env|file)\.([^{}]+)\}|\{\$([^{}:]+)\}`)

// mentions finds the placeholders of a file, each once.
func mentions(file string, text []byte) []mention {
	var all []mention
	seen := make(map[string]bool)
	find := func(line int, word, text string) {
		for _, found := range placeholder.FindAllStringSubmatch(text, -1) {
			if seen[found[0]] {
				continue
			}
			seen[found[0]] = true
			m := mention{text: found[0], kind: found[1], name: found[2], word: word, place: fmt.Sprintf("%s:%d", file, line)}
			if m.kind == "" {
				m.kind, m.name = "env", found[3]
			}
			all = append(all, m)
		}
	}
	tokens, err := caddyfile.Tokenize(text, file)
	if err != nil || bytes.HasPrefix(bytes.TrimSpace(text), []byte(`{"`)) {
		for i, line := range strings.Split(string(text), "\n") {
			word, _, _ := strings.Cut(strings.Trim(line, "\t \""), `"`)
			find(i+1, word, line)
		}
		return all
	}
	line, word := 0, ""
	for _, token := range tokens {
		if token.Line != line {
			line, word = token.Line, token.Text
		}
		find(token.Line, word, token.Text)
	}
	return all
}

// value is what a placeholder stands for.
func (m mention) value() (string, error) {
	if m.kind == "env" {
		value, set := os.LookupEnv(m.name)
		if !set {
			return "", errors.New("is not set: want it in the environment")
		}
		return value, nil
	}
	data, err := os.ReadFile(m.name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("is not there: want a file with the value")
	}
	return strings.TrimRight(string(data), "\r\n"), err
}

// settings judges what the configuration takes from the environment and from files.
// It never shows a value.
func (e environment) settings(file string) []finding {
	if e == "" {
		return nil
	}
	files, err := configFiles([]string{file})
	if err != nil {
		return nil // that it cannot be read has been said
	}
	var findings []finding
	seen := make(map[string]bool)
	for _, f := range files {
		for _, m := range mentions(filepath.Base(f.From), f.Data) {
			if seen[m.text] {
				continue
			}
			seen[m.text] = true
			say := func(c concern, problem string) {
				findings = append(findings, finding{severities[e][c], fmt.Sprintf("%s, at %s: %s", m.text, m.place, problem)})
			}
			value, err := m.value()
			switch {
			case err != nil:
				say(lacking, err.Error())
				continue
			case strings.TrimSpace(value) == "":
				say(lacking, "is empty: want a value")
				continue
			}
			for _, p := range setting.Problems(value, setting.Secret(m.name) || setting.Secret(m.word)) {
				c := lacking
				if p.Kind == setting.Weak {
					c = guessable
				}
				say(c, p.Text)
			}
		}
	}
	return findings
}

// lookAround asks what the gateway needs, and says what an environment lacks.
func (a *App) lookAround(ctx context.Context, e environment) []finding {
	if e == "" {
		return nil
	}
	var findings []finding
	say := func(c concern, format string, args ...any) {
		if severity := severities[e][c]; severity != "" {
			findings = append(findings, finding{severity, fmt.Sprintf(format, args...)})
		}
	}
	if a.Fleet != nil {
		asking, stop := context.WithTimeout(ctx, lookTime)
		if err := fleet.Ask(asking, *a.Fleet); err != nil {
			say(unanswered, "fleet %s: %v", a.Fleet.URL, err)
		}
		stop()
	}
	for _, name := range slices.Sorted(maps.Keys(a.Pools)) {
		if len(a.Pools[name].Discover) == 0 {
			continue // replicas register
		}
		looking, stop := context.WithTimeout(ctx, lookTime)
		found, err := lb.LookUp(looking, a.Pools[name].Discover)
		stop()
		switch {
		case err != nil:
			say(unanswered, "pool %s: %v", name, err)
		case len(found) == 0:
			say(nobody, "pool %s: discovery finds no replica now", name)
		}
	}
	a.lookAtBackups(ctx, say)
	if !a.mayCall(control.ScopePurge) {
		say(caution, "control: no token: CI cannot purge from elsewhere: want token {env.EDGE_TOKEN}")
	}
	return findings
}

func (a *App) lookAtBackups(ctx context.Context, say func(concern, string, ...any)) {
	if a.vault == nil {
		say(caution, "no backup block: a node that is lost takes journal, deploy history and certificates with it")
		return
	}
	if a.vault.Key == nil {
		say(caution, "backup: no key: whoever reads %s has the private keys of your certificates", a.Backup.To)
	}
	if way, err := filepath.Rel(a.StateDir, a.Backup.To); err == nil && filepath.IsLocal(way) {
		say(caution, "backup to %q: is in the state folder, and lost with it: want another disk, or s3://…", a.Backup.To)
	}
	asking, stop := context.WithTimeout(ctx, lookTime)
	defer stop()
	if _, err := a.vault.List(asking); err != nil {
		say(unanswered, "backup to %s: %v", a.vault.Store, err)
	}
}

const (
	// soonOver is how long a certificate from a file has to last.
	soonOver = 14 * 24 * time.Hour
)

// certificateFindings looks at the certificates that the configuration brings along,
// and at who makes the others.
func (e environment) certificateFindings(config *caddy.Config, now time.Time) []finding {
	if e == "" || config.AppsRaw["tls"] == nil {
		return nil
	}
	var tls struct {
		Certificates struct {
			LoadFiles []struct{ Certificate string } `json:"load_files"`
		}
		Automation struct {
			Policies []struct {
				Subjects []string
				Issuers  []struct{ Module string }
			}
		}
	}
	if err := json.Unmarshal(config.AppsRaw["tls"], &tls); err != nil {
		return nil // provisioning has more to say
	}
	var findings []finding
	say := func(c concern, format string, args ...any) {
		if severity := severities[e][c]; severity != "" {
			findings = append(findings, finding{severity, fmt.Sprintf(format, args...)})
		}
	}
	for _, f := range tls.Certificates.LoadFiles {
		text, err := os.ReadFile(f.Certificate)
		block, _ := pem.Decode(text)
		if err != nil || block == nil {
			continue // provisioning says so
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		switch left := certificate.NotAfter.Sub(now); {
		case left <= 0:
			say(lacking, "certificate %s: ended on %s: want one that lasts", f.Certificate, certificate.NotAfter.UTC().Format(time.DateOnly))
		case left < soonOver:
			say(unanswered, "certificate %s: ends on %s, and nobody renews a file: want a new one", f.Certificate, certificate.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	for _, p := range tls.Automation.Policies {
		if slices.ContainsFunc(p.Issuers, func(i struct{ Module string }) bool { return i.Module == "internal" }) {
			say(caution, "tls internal (%s): browsers do not know Caddy's own authority", strings.Join(p.Subjects, ", "))
		}
	}
	return findings
}
