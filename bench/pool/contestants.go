package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// wish is what a criterion wants of a gateway beyond the ordinary.
type wish struct {
	replicas []string // host:port
	listen   string
	dir      string
	root     bool // the process will run as root

	pool     string // lines in edge's pool
	most     int    // requests at a time that a replica may have; 0: as each has it by itself
	resolver string // host:port of the resolver of the name, if replicas have one
	file     string // in which edge's replicas stand, if they do
}

// config is how a process is started.
type config struct {
	file, text string
	args       []string
}

// contestant is one gateway, set up as its manual has it for replicas that fail:
// least connections, health checks every second, failures noticed by what
// requests meet, safe requests tried on another replica, twice at most.
type contestant struct {
	name      string
	program   string
	configure func(wish) config
}

var (
	edge        = contestant{"edge", "edge", edgeConfig}
	caddy       = contestant{"stock Caddy", "caddy", caddyConfig}
	nginx       = contestant{"nginx", "nginx", nginxConfig}
	haproxy     = contestant{"HAProxy", "haproxy", haproxyConfig}
	contestants = []contestant{edge, caddy, nginx, haproxy}
)

// name is what replicas are called where a resolver is asked.
const name = "app.test"

// port of the replicas, which is the same for all where they have a name.
func (w wish) port() string {
	_, port, _ := net.SplitHostPort(w.replicas[0]) // made by net.Listen
	return port
}

// edgeConfig leaves everything at its default.
func edgeConfig(w wish) config {
	discover := "static " + strings.Join(w.replicas, " ")
	if w.resolver != "" {
		discover = fmt.Sprintf("dns %s:%s {\n\t\t\t\tresolver %s\n\t\t\t}", name, w.port(), w.resolver)
	}
	if w.file != "" {
		discover = fmt.Sprintf("file %s {\n\t\t\t\tinterval 100ms\n\t\t\t}", w.file)
	}
	if w.most > 0 {
		w.pool += fmt.Sprintf("\t\t\tqueue {\n\t\t\t\tmax_inflight %d\n\t\t\t}\n", w.most)
	}
	return caddyfile(w, fmt.Sprintf(`	edge {
		state_dir %s
		pool app {
			discover %s
			health /healthz {
				interval 1s
			}
%s		}
		stop {
			announce 1ms
		}
	}
`, filepath.Join(w.dir, "state"), discover, w.pool), "\tedge_proxy app\n")
}

func caddyConfig(w wish) config {
	to, from := strings.Join(w.replicas, " "), ""
	if w.resolver != "" {
		to = ""
		from = fmt.Sprintf("\t\tdynamic a {\n\t\t\tname %s\n\t\t\tport %s\n\t\t\trefresh 1s\n\t\t\tresolvers %s\n\t\t}\n", name, w.port(), w.resolver)
	}
	if w.most > 0 {
		from += fmt.Sprintf("\t\tunhealthy_request_count %d\n", w.most)
	}
	return caddyfile(w, "", fmt.Sprintf(`	reverse_proxy %s {
%s		lb_policy least_conn
		lb_retries 2
		health_uri /healthz
		health_interval 1s
		fail_duration 5s
		max_fails 5
		unhealthy_status 5xx
		transport http {
			keepalive 4s
			keepalive_idle_conns_per_host 256
		}
	}
`, to, from))
}

func caddyfile(w wish, global, site string) config {
	return config{
		file: "Caddyfile",
		text: fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tlog {\n\t\tlevel ERROR\n\t}\n%s}\n\nhttp://%s {\n%s}\n", global, w.listen, site),
		args: []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(w.dir, "Caddyfile")},
	}
}

func nginxConfig(w wish) config {
	user, upstream, resolver, to := "", "", "", "http://app"
	if w.root {
		user = "user root;\n" // the folder is closed to nginx's own user
	}
	if w.resolver != "" {
		// A name in a variable is resolved again, as it is by the commercial version.
		resolver = fmt.Sprintf("\tresolver %s valid=1s ipv6=off;\n", w.resolver)
		to = fmt.Sprintf("http://$app:%s;\n\t\t\tset $app %s", w.port(), name)
	} else {
		most := ""
		if w.most > 0 {
			most = fmt.Sprintf(" max_conns=%d", w.most)
		}
		for _, address := range w.replicas {
			upstream += fmt.Sprintf("\t\tserver %s max_fails=5 fail_timeout=5s%s;\n", address, most)
		}
		upstream = fmt.Sprintf("\tupstream app {\n\t\tzone app 256k;\n\t\tleast_conn;\n%s\t\tkeepalive 256;\n\t\tkeepalive_timeout 4s;\n\t}\n", upstream)
	}
	return config{
		file: "nginx.conf",
		text: fmt.Sprintf(`%[1]sworker_processes 1;
daemon off;
pid %[2]s/nginx.pid;
error_log stderr crit;
events {
	worker_connections 20000;
}
http {
	access_log off;
	client_body_temp_path %[2]s/client_body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
%[3]s%[4]s	server {
		listen %[5]s;
		location / {
			proxy_pass %[6]s;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_next_upstream error timeout http_502 http_503 http_504;
			proxy_next_upstream_tries 3;
		}
	}
}
`, user, w.dir, resolver, upstream, w.listen, to),
		args: []string{"-e", "stderr", "-p", w.dir, "-c", w.dir + "/nginx.conf"},
	}
}

func haproxyConfig(w wish) config {
	resolvers, servers := "", ""
	most := ""
	if w.most > 0 {
		most = fmt.Sprintf(" maxconn %d", w.most)
	}
	if w.resolver != "" {
		resolvers = fmt.Sprintf("resolvers local\n\tnameserver one %s\n\thold valid 1s\n\ttimeout resolve 1s\n\ttimeout retry 1s\n", w.resolver)
		servers = fmt.Sprintf("\tserver-template app 4 %s:%s check resolvers local init-addr none\n", name, w.port())
	} else {
		for i, address := range w.replicas {
			servers += fmt.Sprintf("\tserver r%d %s check%s\n", i+1, address, most)
		}
	}
	return config{
		file: "haproxy.cfg",
		text: fmt.Sprintf(`global
	maxconn 20000
	no strict-limits
%sdefaults
	mode http
	timeout connect 3s
	timeout client 1m
	timeout server 1m
	timeout queue 2s
	timeout http-keep-alive 1m
frontend site
	bind %s
	default_backend app
backend app
	balance leastconn
	option httpchk GET /healthz
	option redispatch 1
	retries 2
	retry-on all-retryable-errors
	http-request disable-l7-retry if METH_POST
	default-server inter 1s pool-purge-delay 4s observe layer7 error-limit 5 on-error mark-down
%s`, resolvers, w.listen, servers),
		args: []string{"-db", "-f", w.dir + "/haproxy.cfg"},
	}
}
