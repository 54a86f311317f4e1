package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// setup is what a configuration is made from.
type setup struct {
	listen   string   // host:port
	dir      string   // of the process alone
	replicas []string // host:port
	secure   bool     // TLS at listen, with cert.pem, key.pem and both.pem of dir
	most     int      // connections of clients
	root     bool     // the process will run as root
}

// config is how a process is started.
type config struct {
	file, text string
	args       []string
}

// contestant is one server in one configuration, with everything at its default
// that does not bound connections.
type contestant struct {
	name      string
	program   string // of peers
	configure func(setup) config
}

var contestants = []contestant{
	{"edge", "edge", func(s setup) config { return edgeConfig(s, "") }},
	{"edge with edge_hits", "edge", func(s setup) config {
		return edgeConfig(s, "\tservers {\n\t\tlistener_wrappers {\n\t\t\tedge\n\t\t\ttls\n\t\t\tedge_hits\n\t\t}\n\t}\n")
	}},
	{"stock Caddy", "caddy", func(s setup) config {
		return caddyConfig(s, "", fmt.Sprintf("\treverse_proxy %s {\n\t\tlb_policy least_conn\n\t}\n", strings.Join(s.replicas, " ")))
	}},
	{"nginx", "nginx", nginxConfig},
	{"HAProxy", "haproxy", haproxyConfig},
}

// edgeConfig is the whole chain: rules, cache and pool.
func edgeConfig(s setup, global string) config {
	global += fmt.Sprintf(`	edge {
		state_dir %s
		pool app {
			discover static %s
			queue {
				max_inflight %d
			}
		}
	}
`, filepath.Join(s.dir, "state"), strings.Join(s.replicas, " "), s.most)
	return caddyConfig(s, global, `	edge_rules {
		private /api/*
		page /* {
			edge 1h
		}
	}
	edge_cache
	edge_proxy app
`)
}

func caddyConfig(s setup, global, site string) config {
	scheme := "http"
	if s.secure {
		scheme = "https"
		site = fmt.Sprintf("\ttls %[1]s/cert.pem %[1]s/key.pem\n", s.dir) + site
	}
	return config{
		file: "Caddyfile",
		text: fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tauto_https disable_redirects\n\tlog {\n\t\tlevel ERROR\n\t}\n%s}\n\n%s://%s {\n%s}\n",
			global, scheme, s.listen, site),
		args: []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(s.dir, "Caddyfile")},
	}
}

// nginxConfig allows more connections than there will be: with a sixteenth left
// nginx closes idle ones.
func nginxConfig(s setup) config {
	var b strings.Builder
	if s.root {
		b.WriteString("user root;\n") // the folder is closed to nginx's own user
	}
	listen := s.listen
	if s.secure {
		listen += fmt.Sprintf(" ssl;\n\t\tssl_certificate %[1]s/cert.pem;\n\t\tssl_certificate_key %[1]s/key.pem", s.dir)
	}
	fmt.Fprintf(&b, `worker_processes 1;
daemon off;
pid %[1]s/nginx.pid;
error_log stderr error;
events {
	worker_connections %[2]d;
}
http {
	access_log off;
	keepalive_timeout 5m;
	client_body_temp_path %[1]s/client_body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream app {
		least_conn;
		server %[3]s;
		keepalive 32;
	}
	server {
		listen %[4]s;
		location / {
			proxy_pass http://app;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_read_timeout 5m;
		}
	}
}
`, s.dir, 5*s.most/2+100, strings.Join(s.replicas, ";\n\t\tserver "), listen)
	return config{
		file: "nginx.conf", text: b.String(),
		args: []string{"-e", "stderr", "-p", s.dir, "-c", s.dir + "/nginx.conf"},
	}
}

// haproxyConfig lets HAProxy start though it thinks that the system's limit on
// files is short: it counts some for health checks, of which it makes none.
func haproxyConfig(s setup) config {
	var servers strings.Builder
	for i, address := range s.replicas {
		fmt.Fprintf(&servers, "\tserver r%d %s\n", i, address)
	}
	bind := s.listen
	if s.secure {
		bind += fmt.Sprintf(" ssl crt %s/both.pem", s.dir)
	}
	return config{
		file: "haproxy.cfg",
		text: fmt.Sprintf(`global
	maxconn %d
	no strict-limits
defaults
	mode http
	timeout connect 5s
	timeout client 5m
	timeout server 5m
	timeout http-keep-alive 5m
frontend site
	bind %s
	default_backend app
backend app
	balance leastconn
%s`, s.most+10, bind, &servers),
		args: []string{"-db", "-f", s.dir + "/haproxy.cfg"},
	}
}
