# What people do here. `make help` lists it.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
MINUTES ?= 15
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.6.2

.DEFAULT_GOAL := help
.PHONY: help build demo test test-core test-adapters test-pipeline test-real test-oldest test-readers lint bench chaos compose-test needs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/segue
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/segue ./services/segue

demo: build ## move a legacy shop to a new store while people use it, kill a service, prove that both agree
	@bin/segue demo $(DEMO_FLAGS)

test: needs ## all layers of tests, on the newest and the oldest PostgreSQL (LAYERS="core adapters" for some)
	@.ci/test.sh $(LAYERS)

test-core test-adapters test-pipeline test-real test-oldest test-readers: test-%: needs ## one layer of tests
	@.ci/test.sh $*

needs: ## install or name what the tests need: PostgreSQL, Redis, Java 17, Maven, xz
	@.ci/needs.sh

lint: ## golangci-lint, with the arrows between the rooms
	@$(GO) run $(GOLANGCI) run --allow-parallel-runners ./...

bench: needs ## throughput and latency beside PostgreSQL's own tools (BENCH_ROWS, BENCH_SECONDS, BENCH_FORMS), and what refused rows cost
	@$(GO) test -run '^$$' -bench 'Reader|Customers|Latency' -benchtime 1x -timeout 90m $(BENCH_FLAGS) ./pkg/stacktest
	@$(GO) test -run '^$$' -bench Refused -benchtime 40x ./pkg/pgtarget

chaos: needs ## everything at once for MINUTES (15): traffic, kills, SIGSTOP, cut networks, a load and resyncs
	@SEGUE_CHAOS_MINUTES=$(MINUTES) $(GO) test -count=1 -run '^TestRealChaos$$' -timeout $$(($(MINUTES) + 20))m -v ./pkg/stacktest

compose-test: ## docker compose up, traffic, kill a service, reconcile
	@.ci/compose.sh

clean: ## remove what was built and downloaded
	@rm -rf bin .cache
