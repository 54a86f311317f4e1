package peers

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/edgegw/edge/bench/workloads"
)

// What it costs to be seen: edge with rules, cache and pool, with and without
// access log and traces. Its metrics cannot be switched off.
func init() {
	peer := Peer{
		Name: "observed", Apart: true,
		Build: func(ctx context.Context, dir string) (string, error) {
			return goBuild(ctx, "..", "./cmd/edge", filepath.Join(dir, "observed"))
		},
		Version: edgeVersion,
	}
	for _, kind := range []struct {
		name string
		kind workloads.Kind
		base func(Setup) Config
		few  bool // only what is offered for a site that is seen, in full, and off
	}{{"hit", workloads.Hit, edgeCache, false}, {"pass", workloads.Pass, edgeChain, false}, {"conn", workloads.Hit, edgeHits, true}, {"mix", workloads.Mixed, edgeHits, true}} {
		for _, way := range []struct {
			name, about, global, site, share string
		}{
			{"off", "no access log, no traces", "", "", ""},
			{"seen", "a sampled access log in batches, and one request in a hundred traced, 20 a second at most", logSampling + tracing("1%\n\t\t\tper_second 20"), batchedLog, ""},
			{"log", "an access log of every request", "", accessLog, ""},
			{"batched", "the same, by edge_batch", "", batchedLog, ""},
			{"each", "every request is traced", tracing("100%"), "", ""},
			{"caddy-sampled", "Caddy's sampling of the access log", "", sampledLog, ""},
			{"caddy-traced", "Caddy's tracing of one request in a hundred", "", traced, "0.01"},
		} {
			if kind.few && way.name != "off" && way.name != "seen" && way.name != "batched" {
				continue
			}
			peer.Ways = append(peer.Ways, Way{
				Name: kind.name + "-" + way.name, About: way.about, Kind: kind.kind,
				Configure: func(s Setup) Config { return observed(s, kind.base(s), way.global, way.site, way.share) },
			})
		}
	}
	register(peer)
}

const (
	accessLog   = "\tlog {\n\t\toutput file access.log\n\t}\n"
	sampledLog  = "\tlog {\n\t\toutput file access.log\n\t\tsampling {\n\t\t\tinterval 1s\n\t\t\tfirst 100\n\t\t\tthereafter 100\n\t\t}\n\t}\n"
	batchedLog  = "\tlog {\n\t\toutput edge_batch file access.log\n\t}\n"
	logSampling = "\t\tlog_sampling {\n\t\t\tfirst 100\n\t\t\tshare 1%\n\t\t}\n"
	traced      = "\ttracing {\n\t\tspan visit\n\t}\n"
)

func tracing(share string) string { return "\t\ttracing {\n\t\t\trequests " + share + "\n\t\t}\n" }

// observed adds words to the global block and to the site. The origin takes the spans: it answers 200 to
// whatever is no object.
func observed(s Setup, c Config, global, site, share string) Config {
	begin := fmt.Sprintf("http://%s {\n", s.Listen)
	site = strings.ReplaceAll(site, "access.log", filepath.Join(s.Dir, "access.log"))
	c.Text = strings.Replace(c.Text, begin, begin+site, 1)
	c.Text = strings.Replace(c.Text, "\tedge {\n", "\tedge {\n"+global, 1)
	c.Env = append(c.Env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+s.Origin, "OTEL_SERVICE_NAME=edge")
	if share != "" {
		c.Env = append(c.Env, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG="+share)
	}
	return c
}
