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
	}{{"hit", workloads.Hit, edgeCache}, {"pass", workloads.Pass, edgeChain}} {
		for _, way := range []struct {
			name, about, site, share string
		}{
			{"off", "no access log, no traces", "", ""},
			{"log", "an access log of every request", accessLog, ""},
			{"sampled", "an access log of 100 requests a second, and of one in a hundred past that", sampledLog, ""},
			{"traced", "one request in a hundred is traced", traced, "0.01"},
			{"each", "every request is traced", traced, "1"},
			{"all", "an access log of every request, one in a hundred traced", accessLog + traced, "0.01"},
		} {
			peer.Ways = append(peer.Ways, Way{
				Name: kind.name + "-" + way.name, About: way.about, Kind: kind.kind,
				Configure: func(s Setup) Config { return observed(s, kind.base(s), way.site, way.share) },
			})
		}
	}
	register(peer)
}

const (
	accessLog  = "\tlog {\n\t\toutput file access.log\n\t}\n"
	sampledLog = "\tlog {\n\t\toutput file access.log\n\t\tsampling {\n\t\t\tinterval 1s\n\t\t\tfirst 100\n\t\t\tthereafter 100\n\t\t}\n\t}\n"
	traced     = "\ttracing {\n\t\tspan visit\n\t}\n"
)

// observed adds words to the site. The origin takes the spans: it answers 200 to
// whatever is no object.
func observed(s Setup, c Config, site, share string) Config {
	begin := fmt.Sprintf("http://%s {\n", s.Listen)
	site = strings.ReplaceAll(site, "access.log", filepath.Join(s.Dir, "access.log"))
	c.Text = strings.Replace(c.Text, begin, begin+site, 1)
	if share != "" {
		c.Env = append(c.Env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+s.Origin, "OTEL_SERVICE_NAME=edge",
			"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG="+share)
	}
	return c
}
