# Onward. `make` alone lists what there is to make.
#
# Everything here works as root and as an ordinary user, without network once modules and packages are there, and in two
# checkouts at a time. What a target needs is installed first where that is possible (.ci/deps).

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION := $(shell git describe --always --dirty 2>/dev/null || echo dev)

# Where goroutines share memory. The race detector makes tests several times slower, so the rest goes without.
RACE_DIRS := cmd/internal/devdb cmd/internal/app jobs/jobwatch jobs/worker lifecycle/pgstore web/inbox web/metrics
RACE_PKGS := $(sort $(dir $(wildcard $(addsuffix /*_test.go,$(RACE_DIRS)))))

# The tests there that ask from outside, by name.
OTHERS := '^TestDashboards|^TestConsole'

# More flags for go test, such as -run or -count.
TESTFLAGS ?=

# The linter is built from its own module and kept in Go's build cache: a minute once, nothing after that.
LINT := CGO_ENABLED=0 go tool -modfile=.ci/tools/go.mod golangci-lint

# The version is put in by hand, so that a checkout that belongs to another user, or none, builds all the same.
export GOFLAGS := -buildvcs=false $(filter-out -buildvcs=%,$(GOFLAGS))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## start everything on an embedded PostgreSQL and play the demo
	@.ci/deps postgres
	@exec bin/onward up --demo

# Private addresses of the processes to watch; empty: those of 127.0.0.1:8081 and :8082 that answer.
ONWARD ?=

.PHONY: observe
observe: ## start Prometheus and Alertmanager against a running Onward
	@.ci/deps prometheus
	@exec deploy/observe $(ONWARD)

.PHONY: build
build: ## build bin/onward, statically linked
	@.ci/deps go
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/onward ./cmd/onward

.PHONY: test
test: ## run every test, with the race detector where it matters
	@.ci/deps go postgres cc prometheus chromium pgbouncer
	go test $(TESTFLAGS) $$(go list ./... | grep -vxF $(patsubst %/,-e onward/%,$(RACE_PKGS)))
	@# What it looks at lies outside of its module, where the cache does not see that it changed.
	go -C dashboards/tests test $(TESTFLAGS) -count=1 ./...
	@# Without the detector what a Prometheus or a browser asks: it shares no memory with it, and takes the time of those that do.
	go test -run $(OTHERS) $(TESTFLAGS) $(addprefix ./,$(RACE_PKGS))
	CGO_ENABLED=1 go test $(TESTFLAGS) -race -skip $(OTHERS) $(addprefix ./,$(RACE_PKGS))

CHECKS := check-vet check-lint check-imports check-generated check-modules

.PHONY: check $(CHECKS)
check: ## check format, lint and import rules, generated code, modules
	@.ci/deps go
	@$(MAKE) --keep-going --no-print-directory $(CHECKS)

check-vet:
	go vet ./...
	go -C dashboards/tests vet ./...
	GOOS=darwin go vet ./cmd/internal/devdb/...

check-lint:
	$(LINT) config verify
	$(LINT) run ./...

check-imports:
	go test ./cmd/internal/importrules

check-generated:
	.ci/generated

check-modules:
	go mod tidy -diff
	go mod verify
	go -C dashboards/tests mod tidy -diff

.PHONY: fmt
fmt: ## format the code
	@.ci/deps go
	$(LINT) fmt

.PHONY: generate
generate: ## write generated code anew
	@.ci/deps go
	go generate ./...

.PHONY: bench
bench: build ## run the benchmarks that the README quotes
	@.ci/deps postgres
	bin/onward bench

.PHONY: clean
clean: ## remove what was built; data stays
	rm -rf bin coverage*
