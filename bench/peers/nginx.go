package peers

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/edgegw/edge/bench/workloads"
)

func init() {
	cache := Way{Name: "cache", About: "proxy_cache, objects in page cache", Kind: workloads.Hit, Configure: nginxCache}
	register(Peer{
		Name:    "nginx",
		Build:   func(context.Context, string) (string, error) { return Find("nginx", "nginx-light") },
		Version: nginxVersion,
		Ways: []Way{
			cache, secure(cache), mixed(cache),
			{Name: "proxy", About: "proxy_pass over kept-alive connections", Kind: workloads.Pass, Configure: nginxProxy},
		},
	})
}

// nginxVersion reads what nginx -v says, which it says on standard error.
func nginxVersion(ctx context.Context, binary string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, "-v").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nginx -v: %w", err)
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "nginx version: nginx/")
	if !ok {
		return "", fmt.Errorf("nginx -v: %q: want nginx version: nginx/…", out)
	}
	return version, nil
}

func nginxCache(s Setup) Config {
	return nginxConfig(s, fmt.Sprintf("\tproxy_cache_path %s/cache keys_zone=objects:16m max_size=1g inactive=1d use_temp_path=off;\n", s.Dir),
		"\t\t\tproxy_cache objects;\n\t\t\tproxy_cache_lock on;\n")
}

func nginxProxy(s Setup) Config { return nginxConfig(s, "", "") }

// nginxConfig is nginx as one would tune it for this: one worker, no access
// log, connections that are never closed for having served too many requests.
func nginxConfig(s Setup, inHTTP, inLocation string) Config {
	var b strings.Builder
	if s.Root {
		b.WriteString("user root;\n") // the folder is closed to nginx's own user
	}
	fmt.Fprintf(&b, `worker_processes 1;
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log error;
events {
	worker_connections 4096;
}
http {
	default_type text/plain;
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 1000000000;
	open_file_cache max=1000 inactive=1h;
	open_file_cache_valid 1h;
	client_body_temp_path %[1]s/client_body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
%[4]s	upstream origin {
		server %[2]s;
		keepalive 128;
		keepalive_requests 1000000000;
	}
	server {
		listen %[3]s%[6]s;
		location / {
			proxy_pass http://origin;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
%[5]s		}
	}
}
`, s.Dir, s.Origin, s.Listen, inHTTP, inLocation, nginxTLS(s))
	return Config{
		File: "nginx.conf",
		Text: b.String(),
		Args: []string{"-e", s.Dir + "/error.log", "-p", s.Dir, "-c", s.Dir + "/nginx.conf"},
	}
}

// nginxTLS goes on after the address that it listens on.
func nginxTLS(s Setup) string {
	if !s.Secure {
		return ""
	}
	return fmt.Sprintf(" ssl http2;\n\t\thttp2_max_requests 1000000000;\n\t\tssl_protocols TLSv1.3;\n\t\tssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\n"+
		"\t\tssl_certificate %[1]s/cert.pem;\n\t\tssl_certificate_key %[1]s/key.pem", s.Dir)
}
