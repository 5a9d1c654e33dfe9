# The entry points. Each first makes sure that what it needs is installed (scripts/setup.sh), quickly when it is.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help run test lint page bench fuzz deny clean

# Optimised, with a shorter link than a release's: minutes less for the first start.
PROFILE ?= bench-fast
CARGO_TARGET_DIR ?= target
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 600

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

run: page ## Build page and server, start it and print the URL to open (ARGS="--port 5001" for settings)
	@cargo build --locked --profile $(PROFILE)
	@exec "$(CARGO_TARGET_DIR)/$(PROFILE)/outpost" $(ARGS)

test: ## Run every test: format, page, Rust, stock clients, faults, browser
	@scripts/test.sh

lint: ## Check formatting, clippy, the page's linter and types, the tests' linter
	@scripts/setup.sh lint
	cargo fmt --check
	OUTPOST_PAGE=none cargo clippy --locked --all-targets -- -D warnings
	npm --prefix web run lint
	npm --prefix web run check
	npm --prefix tests run lint

page: ## Build the page into web/dist
	@scripts/setup.sh build
	@scripts/page.sh

bench: ## Measure beside nats-server and write the tables of docs/benchmarks.md
	@scripts/bench.sh

fuzz: ## Run each fuzz target for FUZZ_SECONDS (600); TARGETS="frame subject" picks some
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh $(TARGETS)

deny: ## Check licences, banned crates and duplicate versions of the dependencies
	@scripts/setup.sh rust
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check licenses bans sources

clean: ## Remove everything that was built or installed below this folder
	rm -rf target fuzz/target web/dist web/node_modules tests/node_modules
