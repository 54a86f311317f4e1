package main

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/peers"
)

// contestant is one cache with one way to purge it.
type contestant struct {
	program string // whose binary it is
	name    string
	// configure is pure.
	configure func(peers.Setup) peers.Config
	// purge returns when the contestant has acknowledged the purge of a page.
	purge func(ctx context.Context, c *client, path string) error
}

var contestants = []contestant{
	{"edge", "edge, by URL", edgeConfig, edgePurge(func(url, _ string) map[string]any { return map[string]any{"urls": []string{url}} })},
	{"edge", "edge, by tag", edgeConfig, edgePurge(func(_, tag string) map[string]any { return map[string]any{"tags": []string{tag}} })},
	{"edge", "edge, everything", edgeConfig, edgePurge(func(_, _ string) map[string]any { return map[string]any{"everything": true} })},
	{"varnish", "Varnish, PURGE", varnishConfig, asked("PURGE")},
	{"varnish", "Varnish, ban by URL", varnishConfig, asked("BAN")},
	{"varnish", "Varnish, ban by tag", varnishConfig, asked("BANTAG")},
	{"nginx", "nginx, the file deleted", nginxConfig, unlink},
}

// program finds or builds one, and says its version.
type program struct {
	build   func(ctx context.Context, dir string) (string, error)
	version func(ctx context.Context, binary string) (string, error)
}

// programs are those of the other benchmarks.
func programs() map[string]program {
	all := make(map[string]program)
	for _, peer := range peers.All() {
		all[peer.Name] = program{peer.Build, peer.Version}
	}
	return all
}

// token is what edge's control API wants.
var token = rand.Text()

func edgeConfig(s peers.Setup) peers.Config {
	return peers.Config{
		File: "Caddyfile",
		Text: fmt.Sprintf(`{
	admin off
	persist_config off
	log {
		level ERROR
	}
	edge {
		state_dir %s
		pool app {
			discover static %s
		}
		control {
			token %s
		}
		stop {
			announce 1ms
		}
	}
}

http://%s {
	edge_cache
	edge_proxy app
	handle /.edge/* {
		edge_control
	}
}
`, filepath.Join(s.Dir, "state"), s.Origin, token, s.Listen),
		Args: []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(s.Dir, "Caddyfile")},
	}
}

// edgePurge gives an order over the control API and waits for it.
func edgePurge(order func(url, tag string) map[string]any) func(context.Context, *client, string) error {
	return func(ctx context.Context, c *client, path string) error {
		text, err := json.Marshal(order(c.base+path, tagOf(path)))
		if err != nil {
			return err
		}
		var record struct{ ID, State string }
		if err := gateway.Control(ctx, c.http, token, http.MethodPost, c.base+"/.edge/purge", text, &record); err != nil {
			return err
		}
		if err := gateway.Control(ctx, c.http, token, http.MethodGet, c.base+"/.edge/purge/"+record.ID+"?wait=30s", nil, &record); err != nil {
			return err
		}
		if record.State != "done" {
			return fmt.Errorf("purge %s: %q: want done", path, record.State)
		}
		return nil
	}
}

// varnishConfig is as its manual shows it: PURGE for the page, a ban on a field
// of the stored object, as the ban lurker wants it, for URL and tag.
func varnishConfig(s peers.Setup) peers.Config {
	host, port, _ := strings.Cut(s.Origin, ":")
	return peers.Config{
		File: "race.vcl",
		Text: fmt.Sprintf(`vcl 4.1;

backend default {
	.host = "%s";
	.port = "%s";
}

sub vcl_recv {
	if (req.method == "PURGE") {
		return (purge);
	}
	if (req.method == "BAN") {
		ban("obj.http.X-Url == " + req.url);
		return (synth(200, "banned"));
	}
	if (req.method == "BANTAG") {
		ban("obj.http.Cache-Tag == " + req.http.X-Tag);
		return (synth(200, "banned"));
	}
}

sub vcl_backend_response {
	set beresp.http.X-Url = bereq.url;
	set beresp.keep = 1h;
}
`, host, port),
		Args: []string{
			"-F", "-j", "none", "-a", s.Listen, "-f", filepath.Join(s.Dir, "race.vcl"), "-n", filepath.Join(s.Dir, "varnish"),
			"-s", "malloc,64m", "-p", "default_grace=0", "-p", "thread_pools=1",
		},
	}
}

// asked purges by a request of a method of its own.
func asked(method string) func(context.Context, *client, string) error {
	return func(ctx context.Context, c *client, path string) error {
		r, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
		if err != nil {
			return err
		}
		r.Header.Set("X-Tag", tagOf(path))
		resp, err := c.http.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %s: %s", method, path, resp.Status)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
}

// nginxConfig caches as its manual has it for stale-while-revalidate and for
// conditional requests. Open source nginx has no purge.
func nginxConfig(s peers.Setup) peers.Config {
	user := ""
	if s.Root {
		user = "user root;\n" // the folder is closed to nginx's own user
	}
	return peers.Config{
		File: "nginx.conf",
		Text: fmt.Sprintf(`%[4]sworker_processes 1;
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log error;
events {
	worker_connections 1024;
}
http {
	access_log off;
	client_body_temp_path %[1]s/client_body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	proxy_cache_path %[1]s/cache keys_zone=pages:8m max_size=64m inactive=1d use_temp_path=off;
	server {
		listen %[3]s;
		location / {
			proxy_pass http://%[2]s;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_cache pages;
			proxy_cache_key $uri;
			proxy_cache_lock on;
			proxy_cache_revalidate on;
			proxy_cache_background_update on;
			proxy_cache_use_stale updating;
		}
	}
}
`, s.Dir, s.Origin, s.Listen, user),
		Args: []string{"-e", s.Dir + "/error.log", "-p", s.Dir, "-c", s.Dir + "/nginx.conf"},
	}
}

// unlink deletes the file in which nginx keeps a page, which is named after the
// key's hash. There may be none yet.
func unlink(_ context.Context, c *client, path string) error {
	sum := md5.Sum([]byte(path))
	err := os.Remove(filepath.Join(c.dir, "cache", hex.EncodeToString(sum[:])))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
