# terasocket. "make" lists the targets.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE     ?= $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
LDFLAGS  = -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)
FUZZTIME ?= 30s
MAJORS   ?= 13 14 15 16 17 18 19
CHAOS_TIME ?= 2m
CHAOS_SEED ?=
INTERLEAVE_TIME ?= 10m
INTERLEAVE_SEED ?=
PREFIX   ?= /usr/local
DESTDIR  ?=
N        ?= 20
PACKAGES ?= ./...
TEST     = CGO_ENABLED=1 $(GO) test -race -ldflags=-w -parallel 4 -timeout 15m -skip '^TestChaos$$'
CHAOS    = CGO_ENABLED=1 $(GO) test -race -count 1 -v -timeout 180m -run '^TestChaos$$' ./cmd/terasocket/chaos

# By default a program with the race detector ends a second late.
export GORACE ?= atexit_sleep_ms=0

.DEFAULT_GOAL := help
.PHONY: help postgres postgres-majors pgbouncer curl compiler redis nginx chromium build install dist reproducible test-package container man reference console check-deploy check-proto test test-long examples test-matrix flaky check demo demo-opentera bench performance fuzz chaos chaos-short interleave clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Shell functions for the install targets. install_as takes the package names
# for apt-get, dnf, apk, pacman and brew. On Debian and Ubuntu a server package
# creates and starts a server: a file in createcluster.d and a policy-rc.d
# prevent that during the installation. Running servers are left alone.
define INSTALL
set -e; \
have() { command -v "$$1" >/dev/null 2>&1; }; \
as_root() { if [ "$$(id -u)" = 0 ]; then "$$@"; else sudo "$$@"; fi; }; \
install_as() { \
	if have apt-get; then how="apt-get update && apt-get install --no-install-recommends $$1"; \
	elif have dnf; then how="dnf install $$2"; \
	elif have apk; then how="apk add $$3"; \
	elif have pacman; then how="pacman -S $$4"; \
	elif have brew; then brew install $$5; return; \
	else echo "make: no apt-get, dnf, apk, pacman or brew here; install by hand: $$1" >&2; return 1; fi; \
	if [ "$$(id -u)" != 0 ] && ! have sudo; then \
		echo "make: installing needs root, and there is no sudo. As root, run: $$how" >&2; return 1; \
	fi; \
	if have apt-get; then \
		no_cluster=/etc/postgresql-common/createcluster.d/terasocket.conf no_start=/usr/sbin/policy-rc.d; \
		as_root apt-get update -qq || echo "make: apt-get update failed; going on with the lists there are" >&2; \
		as_root mkdir -p "$${no_cluster%/*}"; \
		echo 'create_main_cluster = false' | as_root tee "$$no_cluster" >/dev/null; \
		if [ -e "$$no_start" ]; then no_start=; else printf '#!/bin/sh\nexit 101\n' | as_root tee "$$no_start" >/dev/null; as_root chmod 755 "$$no_start"; fi; \
		status=0; \
		trap 'as_root rm -f "$$no_cluster" $$no_start' EXIT; \
		trap 'exit 130' INT TERM; \
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$1 </dev/null || status=$$?; \
		return $$status; \
	elif have dnf; then as_root dnf install -y $$2; \
	elif have apk; then as_root apk add --no-cache $$3; \
	else as_root pacman -Sy --noconfirm --needed $$4; fi; \
};
endef

# Where db/embedded looks, too.
POSTGRES_DIRS = $$(echo "$$PATH" | tr : ' ') /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
	/opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin

postgres: ## install the PostgreSQL server programs, if missing
	@$(INSTALL) \
	found() { for d in $(POSTGRES_DIRS); do if [ -x "$$d/initdb" ] && [ -x "$$d/postgres" ]; then return 0; fi; done; return 1; }; \
	if found; then exit 0; fi; \
	echo "make: no PostgreSQL server programs found; installing them"; \
	install_as postgresql postgresql-server postgresql postgresql postgresql; \
	if ! found; then echo "make: installed PostgreSQL, but initdb and postgres are in none of: $(POSTGRES_DIRS)" >&2; exit 1; fi

postgres-%: ## install a server of another major from npm: make postgres-14
	@script/postgres $*

postgres-majors: ## install a server of every supported major
	@for major in $(MAJORS); do script/postgres $$major || true; done

# server_as is install_as for a package that enables a server; it disables that server, since tests and the demo start their own.
define SERVER
server_as() { \
	unit="$$1"; shift; \
	echo "make: no $$unit found; installing it"; \
	install_as "$$@"; \
	if have systemctl; then as_root systemctl disable "$$unit" >/dev/null 2>&1 || true; fi; \
};
endef

pgbouncer: # for the doctor's tests
	@$(INSTALL) $(SERVER) \
	if have pgbouncer || [ -x /usr/sbin/pgbouncer ]; then exit 0; fi; \
	server_as pgbouncer pgbouncer pgbouncer pgbouncer pgbouncer pgbouncer

redis: # for the bridge's tests and demo-opentera
	@$(INSTALL) $(SERVER) \
	if have redis-server; then exit 0; fi; \
	server_as redis-server redis-server redis redis redis redis

nginx: # for the tests of deploy/opentera
	@$(INSTALL) $(SERVER) \
	if have nginx || [ -x /usr/sbin/nginx ]; then exit 0; fi; \
	server_as nginx nginx nginx nginx nginx nginx

chromium: # for the console's tests
	@$(INSTALL) \
	if have chromium || have chromium-browser || have google-chrome || have google-chrome-stable; then exit 0; fi; \
	echo "make: no Chromium found; installing it"; \
	install_as chromium chromium chromium chromium chromium

curl: # the demo's test runs the printed commands
	@$(INSTALL) \
	if have curl; then exit 0; fi; \
	echo "make: no curl found; installing it"; \
	install_as curl curl curl curl curl

compiler: # go test -race links with cgo
	@$(INSTALL) \
	cc="$$($(GO) env CC)"; \
	if have "$${cc%% *}"; then exit 0; fi; \
	echo "make: no C compiler found, which go test -race needs; installing gcc"; \
	install_as "gcc libc6-dev" "gcc glibc-devel" "gcc musl-dev" gcc gcc

build: ## build bin/terasocket
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/terasocket ./cmd/terasocket

install: ## install bin/terasocket into PREFIX/bin (/usr/local/bin), under DESTDIR; builds nothing, since sudo may not find go
	@test -x bin/terasocket || { echo "make: there is no bin/terasocket: run make build first" >&2; exit 1; }
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 755 bin/terasocket '$(DESTDIR)$(PREFIX)/bin/terasocket'

dist: ## build a release in dist/: static binaries, Debian packages, SBOMs, checksums
	GO='$(GO)' VERSION='$(VERSION)' script/dist

reproducible: ## build the release twice and compare the bytes
	GO='$(GO)' script/reproducible

test-package: postgres ## build, install, serve, upgrade, remove and purge the Debian package (needs root)
	GO='$(GO)' ARCHS="$$(dpkg --print-architecture)" script/dist bin/package
	script/test-package bin/package

container: ## build bin/linux-ARCH/terasocket, and an image with podman, docker or buildah
	@script/container '$(LDFLAGS)'

man: ## write packaging/terasocket.8 from the flags
	TERASOCKET_WRITE_MAN=1 $(GO) test -count 1 -run '^TestManPageIsCurrent$$' ./cmd/terasocket

console: ## update uPlot, the console's plotting library, from npm
	script/console

reference: ## write docs/reference.md from docs/openapi.yaml and docs/asyncapi.yaml
	TERASOCKET_WRITE_DOCS=1 $(GO) test -count 1 -run '^TestTheReferenceIsCurrent$$' ./api

check-deploy: ## check the Kubernetes manifests against Kubernetes' types, and docs/performance.md against the measurements
	cd deploy/kubernetes && $(GO) vet ./... && $(GO) test ./...
	cd docs/performance && $(GO) vet ./... && $(GO) test ./...

check-proto: ## run buf lint on our own .proto files
	$(GO) run github.com/bufbuild/buf/cmd/buf@v1.75.0 lint

test: postgres pgbouncer curl redis nginx chromium compiler ## run the tests with the race detector; random and many-seed ones in their short form
	$(TEST) -short $(PACKAGES)

test-long: postgres pgbouncer curl redis nginx chromium compiler ## run the tests that have a short form in their long form: all seeds, full crowds
	$(TEST) -run "$$(script/long-tests)" $(PACKAGES)

examples: postgres compiler ## install what the clients of examples/ need, and test each of them
	@$(INSTALL) \
	need() { echo "make: installing $$1, which an example needs"; shift; install_as "$$@"; }; \
	have node || need node nodejs nodejs nodejs nodejs node; \
	have npm || need npm npm npm npm npm node; \
	python3 -c 'import websockets' 2>/dev/null || /usr/bin/python3 -c 'import websockets' 2>/dev/null || \
		need websockets python3-websockets python3-websockets py3-websockets python-websockets python; \
	{ have cmake && pkg-config --exists Qt6WebSockets; } || \
		need Qt "cmake g++ pkg-config qt6-websockets-dev" "cmake gcc-c++ qt6-qtwebsockets-devel" "cmake g++ qt6-qtwebsockets-dev" "cmake qt6-websockets" "cmake qt"
	TERASOCKET_TEST_EXAMPLES=all $(GO) test -count 1 -timeout 15m -run '^TestExamples$$' ./cmd/terasocket

test-matrix: pgbouncer ## run the database suites on every available major of MAJORS (13 to 19)
	@GO='$(GO)' script/test-matrix $(MAJORS)

flaky: postgres pgbouncer curl redis nginx chromium compiler ## run the tests N times (20) and count the failures by name
	@script/flaky $(N) $(TEST) -short -json -count 1 $(PACKAGES)

check: ## check formatting, vet, staticcheck, go.mod, generated code, files from npm, known vulnerabilities
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then echo "gofmt -w these:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	script/console --check
	@sum() { find proto db/opentera migrations/functions -type f -exec cksum {} + | sort; }; \
	before="$$(sum)"; echo "$(GO) generate ./..."; $(GO) generate ./...; \
	if [ "$$before" != "$$(sum)" ]; then \
		echo "generated code was stale; it is current now, commit it"; exit 1; \
	fi
	@GO='$(GO)' script/vulncheck

demo: postgres build ## run a made-up installation on a throw-away PostgreSQL
	bin/terasocket demo

demo-opentera: postgres redis build ## show terasocket beside a running OpenTera: a stand-in for it, and a real Redis
	bin/terasocket demo-opentera

bench: postgres redis build ## measure everything (20 minutes, on a quiet machine) and write docs/performance.md
	cd docs/performance && $(GO) run . -measure

performance: ## write docs/performance.md from the measurements
	cd docs/performance && $(GO) run .

fuzz: postgres ## run every fuzz target for FUZZTIME (30s)
	GO='$(GO)' script/fuzz $(FUZZTIME)

chaos: postgres pgbouncer compiler ## run the long fault suite: CHAOS_TIME (2m) of faults, CHAOS_SEED to repeat
	CHAOS_TIME=$(CHAOS_TIME) CHAOS_SEED=$(CHAOS_SEED) $(CHAOS)
	TERASOCKET_TEST_LONG=1 $(GO) test -race -count 1 -run 'Away|Deaf' ./bridge

chaos-short: postgres pgbouncer compiler ## run the short one, about 60 s
	CHAOS_TIME= CHAOS_SEED=$(CHAOS_SEED) $(CHAOS)

interleave: postgres pgbouncer compiler ## test random interleaved transactions against OpenTera's rules: INTERLEAVE_TIME (10m), INTERLEAVE_SEED to repeat
	INTERLEAVE_TIME=$(INTERLEAVE_TIME) INTERLEAVE_SEED=$(INTERLEAVE_SEED) $(GO) test -count 1 -v -timeout 60m -run '^TestInterleave$$' ./cmd/terasocket/interleave

clean: ## remove build products
	rm -rf bin dist .demo *.test *.prof
