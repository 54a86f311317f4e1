package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/logbatch"
)

// Batch is the log writer edge_batch. It takes the records of a log without
// waiting for the writer that it stands in front of, which gets them ten times a
// second: a request does not wait for a disk, and a record costs no system call
// of its own.
//
//	log {
//	    output edge_batch file /var/log/edge/access.log {
//	        roll_size 100MiB
//	    }
//	}
//
// What finds no room, because the writer is slower than the records, is dropped
// and counted. The end of a configuration, and of the process, writes what waits.
type Batch struct {
	// WriterRaw is the writer behind it: file, stdout or stderr.
	WriterRaw json.RawMessage `json:"writer,omitempty" caddy:"namespace=caddy.logging.writers inline_key=output"`

	writer caddy.WriterOpener
}

// CaddyModule returns the Caddy module information.
func (*Batch) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.edge_batch", New: func() caddy.Module { return new(Batch) }}
}

var (
	recordsDropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "edge_log_dropped_total",
		Help: "Records of logs with edge_batch that were dropped: the writer was too slow, or failed.",
	})
	batchable = map[string]bool{"file": true, "stdout": true, "stderr": true}
)

// UnmarshalCaddyfile reads edge_batch <writer> <its arguments> { … }.
func (b *Batch) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.NextArg() || !batchable[d.Val()] {
		return d.Errf("edge_batch %q: want the writer behind it, file, stdout or stderr, and its words", d.Val())
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "caddy.logging.writers."+name)
	if err != nil {
		return err
	}
	b.WriterRaw = caddyconfig.JSONModuleObject(module, "output", name, nil)
	return nil
}

// Provision loads the writer behind it.
func (b *Batch) Provision(ctx caddy.Context) error {
	var behind struct {
		Output string `json:"output"`
	}
	if err := json.Unmarshal(b.WriterRaw, &behind); err != nil {
		return fmt.Errorf("edge_batch: writer: %w", err)
	}
	if !batchable[behind.Output] {
		return fmt.Errorf("edge_batch: writer %q: want file, stdout or stderr", behind.Output)
	}
	module, err := ctx.LoadModule(b, "WriterRaw")
	if err != nil {
		return fmt.Errorf("edge_batch: %w", err)
	}
	b.writer = module.(caddy.WriterOpener)
	return nil
}

// String says where records go in the end.
func (b *Batch) String() string { return b.writer.String() }

// WriterKey is that of the writer behind, in batches.
func (b *Batch) WriterKey() string { return "edge_batch:" + b.writer.WriterKey() }

// OpenWriter opens the writer behind.
func (b *Batch) OpenWriter() (io.WriteCloser, error) {
	writer, err := b.writer.OpenWriter()
	if err != nil {
		return nil, err
	}
	w := logbatch.New(writer, logbatch.Options{
		Dropped: func(records int) { recordsDropped.Add(float64(records)) },
		Trouble: func(err error) {
			caddy.Log().Named("edge").Error("records of a log dropped", zap.String("log", b.String()), zap.Error(err))
		},
	})
	batches.Store(b.WriterKey(), w)
	return w, nil
}

// batches are the open writers, by key: configurations share them.
var batches sync.Map

// Cleanup writes what waits when a configuration has ended. Caddy may leave the
// writer open, also at the end of the process.
func (b *Batch) Cleanup() error {
	return syncBatches()
}

// syncBatches writes what waits in all batches.
func syncBatches() error {
	var errs []error
	batches.Range(func(_, w any) bool {
		errs = append(errs, w.(*logbatch.Writer).Sync())
		return true
	})
	return errors.Join(errs...)
}

var (
	_ caddy.Provisioner     = (*Batch)(nil)
	_ caddy.CleanerUpper    = (*Batch)(nil)
	_ caddy.WriterOpener    = (*Batch)(nil)
	_ caddyfile.Unmarshaler = (*Batch)(nil)
)
