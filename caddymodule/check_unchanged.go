package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/logging"
)

// onlyLooked has a configuration that is provisioned, and never started, leave
// everything as it was. Caddy's apps store things while they are provisioned (an
// authority for "tls internal", keys for ECH), and logs are opened then: whoever checks
// a configuration as root would leave files that the gateway's own user cannot write.
func onlyLooked(config *caddy.Config) {
	registerLooked()
	config.StorageRaw = wrapped("module", "edge_unchanged", config.StorageRaw)
	for _, app := range []string{"pki", "tls"} {
		if raw := config.AppsRaw[app]; raw != nil {
			config.AppsRaw[app] = unchangedWithin(raw)
		}
	}
	if config.Logging == nil {
		return
	}
	if sink := config.Logging.Sink; sink != nil {
		sink.WriterRaw = unopened(sink.WriterRaw)
	}
	for _, log := range config.Logging.Logs {
		log.WriterRaw = unopened(log.WriterRaw)
	}
}

// registerLooked adds modules that no configuration of an operator's may name, so not
// before they are wanted.
var registerLooked = sync.OnceFunc(func() {
	caddy.RegisterModule(new(unchanged))
	caddy.RegisterModule(new(unopenedLog))
})

// wrapped names a module that wraps another.
func wrapped(key, name string, of json.RawMessage) json.RawMessage {
	fields := map[string]any{key: name}
	if of != nil {
		fields["of"] = of
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return of // of is no JSON, which Caddy says better
	}
	return raw
}

// unchangedWithin replaces the storages that an app names for itself.
func unchangedWithin(app json.RawMessage) json.RawMessage {
	in := json.NewDecoder(bytes.NewReader(app))
	in.UseNumber()
	var root any
	if err := in.Decode(&root); err != nil {
		return app // Caddy says it better
	}
	var walk func(any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			for key, one := range v {
				storage, _ := one.(map[string]any)
				if _, named := storage["module"]; named && key == "storage" {
					v[key] = map[string]any{"module": "edge_unchanged", "of": storage}
					continue
				}
				walk(one)
			}
		}
	}
	walk(root)
	raw, err := json.Marshal(root)
	if err != nil {
		return app // cannot be: it has just been read
	}
	return raw
}

// unopened is a log's writer that is not opened, if opening it could change anything.
func unopened(raw json.RawMessage) json.RawMessage {
	var writer struct {
		Output string `json:"output"`
	}
	if raw == nil || json.Unmarshal(raw, &writer) != nil {
		return raw
	}
	switch writer.Output {
	case "stdout", "stderr", "discard", "net":
		return raw
	}
	return wrapped("output", "edge_unopened", raw)
}

// unopenedLog writes nothing, and says whether the writer in it could.
type unopenedLog struct {
	OfRaw json.RawMessage `json:"of,omitempty" caddy:"namespace=caddy.logging.writers inline_key=output"`

	of caddy.WriterOpener
}

// CaddyModule returns the Caddy module information.
func (*unopenedLog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.edge_unopened", New: func() caddy.Module { return new(unopenedLog) }}
}

// Provision reads the writer's configuration.
func (l *unopenedLog) Provision(ctx caddy.Context) error {
	module, err := ctx.LoadModule(l, "OfRaw")
	if err != nil {
		return err
	}
	l.of = module.(caddy.WriterOpener)
	return nil
}

// String is what the writer calls itself.
func (l *unopenedLog) String() string { return l.of.String() }

// GoString is for Caddy, which shows a writer that cannot be opened so.
func (l *unopenedLog) GoString() string { return l.String() }

// WriterKey is not the writer's own, under which an open one is found.
func (l *unopenedLog) WriterKey() string { return "edge_unopened:" + l.of.WriterKey() }

// OpenWriter opens nothing.
func (l *unopenedLog) OpenWriter() (io.WriteCloser, error) {
	if file, is := l.of.(*logging.FileWriter); is {
		if err := writableFile(file.Filename); err != nil {
			return nil, fmt.Errorf("want a file that can be written: %w", err)
		}
	}
	return caddy.DiscardWriter{}.OpenWriter()
}

var (
	_ caddy.Provisioner  = (*unopenedLog)(nil)
	_ caddy.WriterOpener = (*unopenedLog)(nil)
	_ fmt.GoStringer     = (*unopenedLog)(nil)
)
