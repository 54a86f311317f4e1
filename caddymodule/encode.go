package caddymodule

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgegw/edge/internal/coding"
	"github.com/edgegw/edge/internal/httpcache"
)

// encode reads
//
//	encode off
//	encode [br] [zstd] [gzip] {
//	    min_length SIZE
//	    max_length SIZE
//	}
//
// The codings are in the order in which they are offered.
func encode(to *httpcache.Encoding) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		word, line := d.Val(), d.Line()
		names := d.RemainingArgs()
		if slices.Equal(names, []string{"off"}) {
			to.Off = true
			return noBlock(d, word)
		}
		var o httpcache.Encoding
		for _, name := range names {
			c, err := coding.Parse(name)
			if err != nil {
				return d.Errf("%s: %v, or off alone", word, err)
			}
			o.Codings = append(o.Codings, c)
		}
		err := readBlock(d, words{"min_length": size(&o.MinLength), "max_length": size(&o.MaxLength)})
		switch {
		case err != nil:
			return err
		case o.IsZero():
			return d.Errf("%s: got no argument: want br, zstd, gzip or off", word)
		}
		if err := o.Validate(); err != nil {
			return d.Errf("%s on line %d: %v", word, line, err)
		}
		*to = o
		return nil
	}
}
