package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
)

const (
	caddyfileAdapter = "caddyfile"
	adapterUsage     = "configuration adapter (default: caddyfile, unless the file ends in .json, or holds JSON)"
)

// isCaddyfile reports whether a configuration that nobody has named an adapter for is a
// Caddyfile: whatever its name, if that is not one of JSON, and the text is none.
func isCaddyfile(name string, text []byte) bool {
	base := strings.ToLower(filepath.Base(name))
	switch {
	case filepath.Ext(base) == ".json":
		return false
	case strings.HasPrefix(base, "caddyfile"), strings.HasSuffix(base, ".caddyfile"):
		return true // as Caddy has it
	}
	return !json.Valid(text)
}

// reading are Caddy's commands that read a configuration. By themselves they take what
// is not called a Caddyfile for JSON.
var reading = map[string]bool{"run": true, "start": true, "reload": true, "validate": true, "stop": true, "adapt": true}

// readAsChecked has Caddy's commands take a file for what edge check takes it for, and
// say what was meant, as that does.
func readAsChecked(root *cobra.Command) {
	for _, c := range root.Commands() {
		work := c.RunE
		if !reading[c.Name()] || work == nil {
			continue
		}
		c.RunE = func(c *cobra.Command, args []string) error {
			chooseAdapter(c)
			err := work(c, args)
			if err == nil {
				return nil
			}
			if meant := suggestion(err.Error()); meant != "" {
				caddy.Log().Error(meant) // after the error itself, which Caddy has logged
			}
			return err
		}
	}
}

// chooseAdapter names the adapter for a Caddyfile, unless somebody did. A file that
// cannot be read, or only once, is left to Caddy.
func chooseAdapter(c *cobra.Command) {
	f := c.Flags()
	config, adapter := f.Lookup("config"), f.Lookup("adapter")
	if config == nil || adapter == nil || adapter.Value.String() != "" {
		return
	}
	name := config.Value.String()
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return
	}
	text, err := os.ReadFile(name)
	if err != nil || !isCaddyfile(name, text) {
		return
	}
	if err := adapter.Value.Set(caddyfileAdapter); err != nil {
		panic("caddymodule: " + err.Error()) // it takes any text
	}
}
