# make test     everything a change must pass: format, vet, linters, unit and
#               race tests, fuzz smoke, integration tests
# make build    the gateway, as bin/edge
# make reproducible  builds the last commit twice, elsewhere each time, and compares
# make vulncheck  known vulnerabilities in what is built; asks a database
# make licences  the licence of every module in it, held against a list; needs a minute
# make deb      a Debian package of it, VERSION=1.2.0
# make site     the documents as a site with a search, in dist/site
# make systemd-test  the package, its units, restarts and upgrades under a real systemd, in
#               namespaces; as root, with a cgroup v2 that can be written; no part of test
# make release  what a release consists of, VERSION=1.2.0, in dist/VERSION
# make bench    peers side by side, written to bench/RESULTS.md
# make bench-race  purges against fetches under way, written to bench/RACE.md
# make bench-storm  a thousand at once for one page, and starts, beside peers, written to bench/STORM.md
# make bench-hitratio  what the cache keeps, beside LRU and W-TinyLFU, written to bench/HITRATIO.md
# make soak-memory  a million URLs in half an hour, SOAK_MEMORY=30m, the process's memory watched, written to bench/SOAK.md
# make churn    a hundred rolling replacements, 1 to 10 to 1 replicas and kill -9 under load, written to bench/CHURN.md
# make soak     an hour of everything at once, SOAK=1h: 10,000 connections, replicas churning and killed, deploys, purges, reloads, upgrades, a failing Redis; written to bench/ENDURANCE.md
# make soak-fleet  three gateways and a Redis in chaos behind a stand-in of Cloudflare, SOAK_FLEET=10m, written to bench/FLEET.md
# make bench-shared  a hit from the Redis that nodes have in common, beside memory and replica, written to bench/SHARED.md
# make bench-pool  what a pool must reach, on real sockets, beside peers, written to bench/POOL.md
# make bench-connections  10,000 connections held, and their memory beside peers', written to bench/CONNECTIONS.md
# make demo     the whole system on this machine, for a minute
# make schedules  N=100000 random schedules of the cache, a third with restarts, from seed FROM=0
# make fuzz-long  ten minutes for each fuzz target of the cache, FUZZ_LONG=10m, as in bench/FUZZ.md
# make mutants  break the cache in many small ways; the schedules must notice
# make golden   rewrite the golden files of the adapt tests
# make verdicts record what the public HTTP cache test suite says of the cache

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

GO ?= go
PACKAGES := ./...
FUZZTIME ?= 3s
N ?= 100000
FROM ?= 0
FUZZ_LONG ?= 10m
SOAK ?= 1h
SOAK_MEMORY ?= 30m
SOAK_FLEET ?= 10m

.PHONY: site systemd-test release licences vulncheck reproducible race-part conformance all build deb test tools format vet lint unit race fuzz fuzz-long bench-test packaging-test bench bench-race bench-storm bench-hitratio bench-shared soak soak-memory soak-fleet churn bench-pool bench-connections demo schedules mutants golden verdicts

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/edge ./cmd/edge

deb: build
	packaging/debian/build.sh $(VERSION) bin/edge bin/edge_$(VERSION).deb

release:
	scripts/release.sh "$(VERSION)" "dist/$(VERSION)"

site:
	scripts/install-npm.sh scripts/site
	npm run build --silent --prefix scripts/site

licences:
	mkdir -p bin
	scripts/sbom.sh "$(CURDIR)/bin/edge.cdx.json"
	cd packaging && $(GO) run ./licences -sbom ../bin/edge.cdx.json

test: tools format vet lint race fuzz bench-test packaging-test

# What the tests need beyond Go: a C compiler for the race detector, a
# Redis, a Prometheus, a Chromium, a builder of images, and from npm the public HTTP cache
# test suite and the generator of the documents' site.
tools:
	scripts/install-debian.sh gcc libc6-dev curl redis-server rsyslog prometheus systemd chromium fakeroot buildah crun uidmap busybox-static ca-certificates
	scripts/install-npm.sh caddymodule/testdata/suite scripts/site

format:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet $(PACKAGES)

# Tools that would be too much for our go.mod have one of their own.
TOOL := $(GO) tool -modfile=scripts/tools/go.mod

lint:
	$(GO) tool staticcheck $(PACKAGES)
	$(TOOL) actionlint
	$(TOOL) actionlint packaging/github/*.yml

# Asks the Go project's database of vulnerabilities, so it is no part of test.
vulncheck:
	$(TOOL) govulncheck ./...

reproducible:
	scripts/reproducible.sh

unit:
	$(GO) test $(PACKAGES)

# Compiled side by side first; then the packages that run whole gateways, one after
# another, since they want the machine for themselves; then the others, in pairs.
ALONE := cmd/edge caddymodule internal/lb
race:
	$(GO) list -race -test -export $(PACKAGES) >/dev/null
	$(GO) test -race -shuffle=on -p 1 -timeout 20m $(ALONE:%=./%)
	$(GO) test -race -shuffle=on -p 2 -timeout 20m $$($(GO) list $(PACKAGES) | grep -vE '/($(subst $() ,|,$(ALONE)))$$')

# One of ALONE, or the others: CI runs them on machines of their own.
race-part:
	$(GO) test -race -shuffle=on -p 2 -timeout 40m $(if $(filter others,$(PART)),$$($(GO) list $(PACKAGES) | grep -vE '/($(subst $() ,|,$(ALONE)))$$'),./$(PART))

conformance:
	$(GO) test ./caddymodule -run 'PublicSuite|ConformancePage' -count=1

fuzz:
	scripts/fuzz-smoke.sh $(FUZZTIME)

# What reads Cache-Control, structured fields, Vary, Range, keys and stored objects.
LONG := cacherules:Fuzz(DeltaSeconds|ParseDirectives|Readings)$$|httpcache:Fuzz(Targeted|CacheGroups|Vary|VaryForm|Range|ContentRange|Key|Query|DecodeEntry|DecodeFence|FieldLines)$$|disk:|sharedcache:
fuzz-long:
	scripts/fuzz-smoke.sh $(FUZZ_LONG) '$(LONG)'

# bench is a module of its own, so that peers stay out of ours. Its tests build
# edge, of which the cache of test results does not know.
bench-test:
	cd bench && $(GO) vet ./... && $(GO) test -count=1 ./...

# What edge is shipped in, built and read by the parsers of those who run it; a
# module of its own, too.
packaging-test:
	cd packaging && $(GO) vet ./... && $(GO) test -count=1 ./...

# Root may do it only, and not in every container, so it is no part of test.
systemd-test:
	scripts/install-debian.sh systemd dbus iproute2 procps openssl ca-certificates
	cd packaging && $(GO) vet -tags systemd ./realsystemd && $(GO) test -tags systemd -count=1 -v ./realsystemd

bench:
	scripts/install-debian.sh nginx-light varnish haproxy wrk nghttp2-client
	cd bench && $(GO) run . -out RESULTS.md

bench-race:
	scripts/install-debian.sh nginx-light varnish
	cd bench && $(GO) run ./race -out RACE.md

demo: build
	bin/edge demo

# In a clock of its own: a schedule of some ten seconds takes ten milliseconds.
bench-hitratio:
	cd bench && $(GO) run ./hitratio -requests 200000 -objects 25000 -out HITRATIO.md

bench-shared:
	scripts/install-debian.sh redis-server
	cd bench && $(GO) run ./shared -out SHARED.md

soak:
	scripts/install-debian.sh redis-server
	cd bench && $(GO) run ./churn -duration $(SOAK) -kills 15s -out ENDURANCE.md

soak-memory:
	cd bench && $(GO) run ./soak -duration $(SOAK_MEMORY) -out SOAK.md

soak-fleet:
	scripts/install-debian.sh redis-server
	cd bench && $(GO) run ./fleet -duration $(SOAK_FLEET) -out FLEET.md

churn:
	cd bench && $(GO) run ./churn -out CHURN.md

bench-storm:
	scripts/install-debian.sh nginx-light varnish haproxy
	cd bench && $(GO) run ./storm -out STORM.md

bench-pool:
	scripts/install-debian.sh nginx-light haproxy
	cd bench && $(GO) run ./pool -out POOL.md

bench-connections:
	scripts/install-debian.sh nginx-light haproxy
	cd bench && $(GO) run ./connections -out CONNECTIONS.md

schedules:
	$(GO) test ./internal/httpcache -run '^TestSchedules$$' -count=1 -v -timeout 6h -schedules $(N) -seed $(FROM)

mutants:
	scripts/mutate.sh

golden:
	$(GO) test ./caddymodule -run Adapt -update

# Two runs: the page has its totals from the lists.
verdicts:
	scripts/install-npm.sh caddymodule/testdata/suite
	$(GO) test ./caddymodule -run PublicSuite -update
	$(GO) test ./caddymodule -run ConformancePage -update
