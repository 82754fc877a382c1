# patag: `make up` brings the production stack up on this machine, `make test` passes all tests. `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help
STACK ?= production

export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false
export GOWORK := off

setup := go run ./scripts/setup

.PHONY: help up down clean build tools testtools test test-unit test-e2e soak lint bench docs

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-10s %s\n", $$1, $$2 }'

up: build ## install and build what is missing, start the sandbox, bring up $(STACK); the last line is the ad's URL
	@bin/patag sandbox start
	@bin/patag up $(STACK) --yes

down: ## stop the sandbox; its state stays for the next `make up`
	@if [ -x bin/patag ]; then bin/patag sandbox stop; else echo "nothing was built here, so nothing of it runs"; fi

clean: down ## stop the sandbox and delete its state (built programs stay)
	@if [ -x bin/patag ]; then bin/patag sandbox delete --yes; fi

build: ## install packages, build third-party programs and patag's own into bin/
	@$(setup) build

testtools: ## build, and install what only tests run
	@$(setup) test

tools: ## install packages and build the third-party programs only
	@$(setup) tools

lint: ## go vet and staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet -composites=false ./...
	go tool staticcheck ./...

test: testtools test-unit test-e2e ## all tests

test-unit: ## fast tests by package
	@scripts/test unit

test-e2e: build ## the stacks in a sandbox of their own, with fault tests
	@scripts/test e2e

soak: build ## the long forms: kills, fuzzing, load
	@scripts/test soak

bench: ## benchmarks, ratios against a named baseline in the same run
	@$(setup) bench
	@scripts/test bench

docs: ## regenerate generated documents
	go generate ./...
