# What can be done here. `make` alone lists it.
#
# The targets are thin: the work is in scripts/, cargo and nestor-build. All of
# run, test and bench use cargo's dev profile, which optimises dependencies: one
# build serves them (docs/adr/0003).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run dev-orchestrator setup build engines guests test lint bench sim kill helm-corpus hack drift clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

run: ## Build all, start a host, deploy examples/web-app and show it; cold up to 25 minutes
	@scripts/run-demo

dev-orchestrator: build ## Build, then serve in the foreground on 127.0.0.1:8080
	@scripts/serve

setup: ## Find or install what the build needs
	@scripts/setup

build: ## The host with its engines, and its cache of compiled engines
	@scripts/build

engines: ## The built-in engines into target/engines
	@scripts/build engines

guests: ## The engines of tests, malicious ones among them
	@scripts/build guests

test: ## Every test, with what the tests need
	@scripts/test

lint: ## Formatting, clippy, licences and sources of dependencies
	@scripts/lint

bench: ## The table of speeds: what, ours, theirs, ratio, target, met
	@scripts/bench

sim: setup ## The coordinator in a simulated world: 100,000 deployments, every invariant
	@cargo test --locked -q -p nestor-sim --features mutations --test mutations -- --nocapture
	@cargo run --locked -q -p nestor-sim -- $(SIM)

kill: guests ## The real host, killed KILLS times (200) under load; nothing is lost or repeated
	@NESTOR_KILLS=$(or $(KILLS),200) cargo test --locked -q -p nestor --test kill -- --nocapture

helm-corpus: ## Compare with helm template, every chart below DIR=…; OUT=… keeps what differs
	@scripts/helm-corpus "$(DIR)" "$(OUT)"

drift: ## Check that committed generated files are what the code generates
	@scripts/drift

hack: ## Write host/crates/workspace-hack anew after a change of dependencies (needs cargo-hakari)
	cargo hakari generate
	cargo hakari manage-deps --yes

clean: ## Remove build results and logs of this checkout
	rm -rf target engines-wasm/target .cache
