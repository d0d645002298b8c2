# `make` lists the targets. Variables that are worth setting:
#
#   TESTFLAGS   passed to every go test       make test TESTFLAGS='-run Delegation -v'
#   RACE        empty: without race detector  make test RACE=
#   PKG         packages                      make test-unit PKG=./dag/...
#   DEMO_FLAGS  passed to isoline demo

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# The Go that is installed is the Go that is used: none is downloaded.
export GOTOOLCHAIN := local

VERSION  = $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
RACE     ?= -race
PKG      ?= ./...
FUZZTIME ?= 30s
CHECKS   ?= 10000
LINT     := .tools/bin/golangci-lint

# What the tests start, and what checks them. Add a program together with the
# first test that needs it, so that nobody waits for a build that nothing uses.
TEST_TOOLS := envoy golangci-lint

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/isoline, a static binary
	@CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o bin/isoline ./cmd/isoline

.PHONY: demo
demo: build tools-envoy ## git push to a real Envoy, on this machine
	@bin/isoline demo $(DEMO_FLAGS)

.PHONY: test
test: ## everything that has to pass: lint, tests, end-to-end tests
	@tools/install $(TEST_TOOLS)
	@$(MAKE) lint-only test-unit test-e2e

.PHONY: test-unit
test-unit: ## the tests of the packages (PKG=./dag/... for some of them)
	@echo "== tests"
	@packages=$$(go list $(PKG) | grep -vE '^isoline.dev/isoline/e2e(/|$$)'); \
	go test $(RACE) -timeout 15m $(TESTFLAGS) $$packages

.PHONY: test-e2e
test-e2e: tools-envoy ## git push to a request through Envoy, and what must not happen
	@echo "== end-to-end tests"
	@go test $(RACE) -timeout 15m $(TESTFLAGS) ./e2e/...

.PHONY: lint
lint: ## go vet, golangci-lint, and whether go.mod is tidy
	@tools/install golangci-lint
	@$(MAKE) lint-only

.PHONY: lint-only
lint-only:
	@echo "== lint"
	@go mod tidy -diff
	@go vet ./...
	@$(LINT) run

.PHONY: fmt
fmt: ## format the code as lint wants it
	@tools/install golangci-lint
	@$(LINT) fmt

.PHONY: vuln
vuln: ## known vulnerabilities in what we call (asks Go's database)
	@tools/install govulncheck
	@.tools/bin/govulncheck ./...

.PHONY: bench
bench: ## benchmarks (PKG=./dag BENCH=Rebuild for some of them)
	@go test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem $(TESTFLAGS) $(PKG)

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME, each property CHECKS times
	@tools/fuzz $(FUZZTIME) $(CHECKS)

.PHONY: tools
tools: ## every program that tests and lint use, pinned, into .tools/bin
	@tools/install

.PHONY: tools-envoy
tools-envoy: ## Envoy only: enough to build, to test a package, and for the demo
	@tools/install envoy

.PHONY: clean
clean: ## remove bin and .tools (the cache of built tools stays)
	@rm -rf bin .tools
