package caddymodule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

// parseGlobal reads the global edge block:
//
//	edge {
//	    state_dir <folder>
//	    cache { … }
//	    pool <name> { … }
//	    cloudflare { … }
//	    cdn <name> <words>... { … }
//	    fleet <url> { … }
//	    purge { … }
//	    control { … }
//	    sentry { … }
//	    backup { … }
//	    tracing
//	    log_sampling { … }
//	    stop { … }
//	}
func parseGlobal(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("edge: the block stands twice: give it once")
	}
	d.Next()
	if d.NextArg() {
		return nil, d.Errf("edge: spare argument %q: its words stand in a block", d.Val())
	}
	app := new(App)
	err := readBlock(d, words{
		"state_dir":  text(&app.StateDir),
		"cache":      block(func() words { return cacheWords(&app.Cache) }),
		"pool":       app.parsePool,
		"cloudflare": app.parseCloudflare,
		"cdn": func(d *caddyfile.Dispenser) error {
			var s named.Spec
			err := parseSpec(d, &s, purge.Purgers.New)
			app.CDNs = append(app.CDNs, s)
			return err
		},
		"fleet":        app.parseFleet,
		"sentry":       app.parseSentry,
		"backup":       app.parseBackup,
		"tracing":      app.parseTracing,
		"log_sampling": app.parseLogSampling,
		"purge":        block(func() words { return purgeWords(&app.Purge) }),
		"control": block(func() words {
			return words{"token": texts(&app.Control.Tokens), "caller": app.Control.parseCaller, "hint_token": text(&app.Control.HintToken)}
		}),
		"stop": block(func() words { return stopWords(&app.Leave) }),
	})
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "edge", Value: caddyconfig.JSON(app, nil)}, nil
}

// block reads a word that has no arguments, only a block.
func block(known func() words) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		word := d.Val()
		if d.NextArg() {
			return d.Errf("%s: spare argument %q: its words stand in a block", word, d.Val())
		}
		return readBlock(d, known())
	}
}

func cacheWords(c *CacheSize) words {
	return words{"memory": size(&c.Memory), "max_object": size(&c.MaxObject), "vault": parseVault(&c.Vault), "shared": parseShared(&c.Shared), "disk": func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) != 1 && len(args) != 2 {
			return d.Errf("disk: got %d arguments: want a size, and a folder if not the default one", len(args))
		}
		var err error
		if c.Disk, err = positive(unit.ParseBytes)(args[0]); err != nil {
			return d.Errf("disk %v", err)
		}
		if len(args) == 2 {
			c.DiskFolder = args[1]
		}
		if err := readBlock(d, words{"max_object": size(&c.DiskMaxObject)}); err != nil {
			return err
		}
		if err := c.check(); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}}
}

func purgeWords(s *purge.Settings) words {
	return words{
		"deadline":          duration(&s.Deadline),
		"drain_cap":         duration(&s.DrainCap),
		"settle":            duration(&s.Settle),
		"settle_everything": duration(&s.SettleEverything),
		"gate_for":          duration(&s.GateFor),
		"verify_for":        duration(&s.VerifyFor),
		"warm_for":          duration(&s.WarmFor),
		"max_pending":       count(&s.MaxPending),
	}
}

func (a *App) parsePool(d *caddyfile.Dispenser) error {
	var name string
	if !d.AllArgs(&name) {
		return d.Errf("pool: got %d arguments: want one, its name", d.CountRemainingArgs())
	}
	if _, twice := a.Pools[name]; twice {
		return d.Errf("pool %s: given twice: want each name once", name)
	}
	var c PoolConfig
	vocabulary := poolBlock(&c.Config)
	vocabulary["guard"] = func(d *caddyfile.Dispenser) error { return parseGuard(d, &c.Guard) }
	err := readBlock(d, vocabulary)
	if a.Pools == nil {
		a.Pools = make(map[string]PoolConfig)
	}
	a.Pools[name] = c
	if err != nil || waitsForValue(c.Policy) || slices.ContainsFunc(c.Discover, waitsForValue) || driverWaits(c.Autoscale.Driver) {
		return err
	}
	return each(c.Validate(), func(mistake error) error { return d.WrapErr(fmt.Errorf("pool %s: %w", name, mistake)) })
}

// hasPlaceholder tells a text whose value is known only when the configuration
// is loaded.
func hasPlaceholder(text string) bool {
	return strings.Contains(strings.ReplaceAll(text, portPlaceholder, ""), "{")
}

// waitsForValue reports whether a placeholder stands in an argument, or in an
// option whose words are checked.
func waitsForValue(s named.Spec) bool {
	return slices.ContainsFunc(s.Args, hasPlaceholder) || slices.ContainsFunc([]string{"key", "env", "namespace", "server"}, func(option string) bool {
		return slices.ContainsFunc(s.Options[option], hasPlaceholder)
	})
}

// poolBlock is the pool's vocabulary.
func poolBlock(c *lb.Config) words {
	return words{
		"discover": func(d *caddyfile.Dispenser) error {
			var s named.Spec
			err := parseSpec(d, &s, lb.Discoveries.New)
			c.Discover = append(c.Discover, s)
			return err
		},
		"health": func(d *caddyfile.Dispenser) error { return parseHealth(d, &c.Health) },
		"policy": func(d *caddyfile.Dispenser) error { return parseSpec(d, &c.Policy, lb.Policies.New) },
		"breaker": block(func() words {
			return words{
				"failure_ratio": ratio(&c.Breaker.FailureRatio),
				"min_requests":  count(&c.Breaker.MinRequests),
				"window":        duration(&c.Breaker.Window),
				"open":          duration(&c.Breaker.Open),
				"consecutive":   countOrNone(&c.Breaker.Consecutive),
			}
		}),
		"eject":      func(d *caddyfile.Dispenser) error { return parseEject(d, &c.Eject) },
		"slow_start": duration(&c.SlowStart),
		"retry": block(func() words {
			return words{
				"attempts":        countOrNone(&c.Retry.Attempts),
				"budget":          ratio(&c.Retry.Budget),
				"timeout":         duration(&c.Retry.Timeout),
				"body":            size(&c.Retry.Body),
				"idempotency_key": alone(&c.Retry.IdempotencyKey),
			}
		}),
		"hedge": func(d *caddyfile.Dispenser) error {
			c.Hedge.On = true
			return block(func() words {
				return words{"after": after(&c.Hedge), "budget": ratio(&c.Hedge.Budget)}
			})(d)
		},
		"queue": block(func() words {
			return words{
				"max_inflight": countOrNone(&c.Queue.MaxInflight),
				"adaptive":     alone(&c.Queue.Adaptive),
				"wait":         duration(&c.Queue.Wait),
				"length":       countOrNone(&c.Queue.Length),
			}
		}),
		"drain":     duration(&c.Drain),
		"transport": block(func() words { return transportWords(&c.Transport) }),
		"autoscale": block(func() words { return autoscaleWords(&c.Autoscale) }),
	}
}

func parseHealth(d *caddyfile.Dispenser, h *lb.Health) error {
	switch args := d.RemainingArgs(); len(args) {
	case 0:
	case 1:
		h.Path = args[0]
	default:
		return d.Errf("health: got %d arguments: want one, the path to ask for", len(args))
	}
	return readBlock(d, words{
		"interval":        duration(&h.Interval),
		"timeout":         duration(&h.Timeout),
		"passes":          count(&h.Passes),
		"fails":           count(&h.Fails),
		"host":            text(&h.Host),
		"expect_status":   parsedList(&h.ExpectStatus, lb.ParseStatusRange),
		"expect_body":     parsed(&h.ExpectBody, lb.CheckPattern),
		"version_header":  text(&h.VersionHeader),
		"instance_header": text(&h.InstanceHeader),
	})
}

// parseEject reads "eject off" or "eject { … }".
func parseEject(d *caddyfile.Dispenser, e *lb.Eject) error {
	switch args := d.RemainingArgs(); {
	case len(args) == 1 && args[0] == "off":
		e.Off = true
		return noBlock(d, "eject off")
	case len(args) > 0:
		return d.Errf("eject: spare argument %q: want off, or a block", args[0])
	}
	return readBlock(d, words{
		"consecutive":   countOrNone(&e.Consecutive),
		"failure_ratio": ratio(&e.FailureRatio),
		"latency":       countOrNone(&e.Latency),
		"min_requests":  count(&e.MinRequests),
		"base":          duration(&e.Base),
		"max":           duration(&e.Max),
		"max_share":     ratio(&e.MaxShare),
	})
}

// after reads how long a request waits before it is sent to a second replica: a
// time, or the share of answers that come sooner.
func after(h *lb.Hedge) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		if next := *d; next.NextArg() && strings.HasSuffix(next.Val(), "%") {
			return ratio(&h.Quantile)(d)
		}
		return duration(&h.After)(d)
	}
}

func transportWords(t *lb.Transport) words {
	return words{
		"dial_timeout":       duration(&t.DialTimeout),
		"header_timeout":     duration(&t.HeaderTimeout),
		"body_timeout":       duration(&t.BodyTimeout),
		"idle_timeout":       duration(&t.IdleTimeout),
		"max_idle":           count(&t.MaxIdle),
		"tls":                alone(&t.TLS),
		"server_name":        text(&t.ServerName),
		"ca_file":            text(&t.CAFile),
		"unsafe_skip_verify": alone(&t.UnsafeSkipVerify),
	}
}

// parseSpec reads a spec and builds what it names, to see that it can be.
func parseSpec[T any](d *caddyfile.Dispenser, to *named.Spec, build func(named.Spec) (T, error)) error {
	word := d.Val()
	s, err := spec(d)
	*to = s
	if err != nil {
		return err
	}
	if waitsForValue(s) {
		return nil // checked when the configuration is loaded, with its value
	}
	if _, err := build(s); err != nil {
		return d.Errf("%s: %w", word, err)
	}
	return nil
}

func (a *App) parseCloudflare(d *caddyfile.Dispenser) error {
	c := new(purge.CloudflareConfig)
	a.Cloudflare = c
	return block(func() words {
		return words{
			"zone_id":   texts(&c.ZoneIDs),
			"api_token": text(&c.APIToken),
			"plan":      text(&c.Plan),
			"api_url":   text(&c.APIURL),
			"account":   text(&c.Account),
		}
	})(d)
}
