# `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Where rustup and Go's own installer put their programs.
export PATH := $(HOME)/.cargo/bin:/usr/local/go/bin:$(PATH)

CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/windlass
# An older make does not show $(shell) what it exports.
HOST := $(shell PATH='$(PATH)' rustc -vV 2>/dev/null | sed -n 's/^host: //p')

# The programs go into images of any base, so they are linked statically; naming the target keeps that away from
# procedural macros. The target folder lies outside of the checkout, so that every checkout builds on the same one.
export CARGO_TARGET_DIR ?= $(CACHE)/target
export CARGO_BUILD_TARGET ?= $(HOST)
export RUSTFLAGS ?= -C target-feature=+crt-static
export CARGO_TERM_COLOR ?= auto

BIN := $(CARGO_TARGET_DIR)/$(CARGO_BUILD_TARGET)/debug
# The operator goes into its image optimised: it is small, and its memory is a promise.
OPERATOR := $(CARGO_TARGET_DIR)/$(CARGO_BUILD_TARGET)/release/windlass
export TESTCLUSTER := $(BIN)/testcluster
export WINDLASS_BINARY := $(OPERATOR)
export WINDLASS_AGENT_BINARY := $(BIN)/windlass-agent
export IMAGES ?= $(CACHE)/images

.PHONY: help packages target build programs images test-images images-and-programs test-images-and-programs check lint sbom reproducible test test-ballista test-ballista-node test-crashes test-faults test-permissions test-rollouts demo demo-down generate bench-operator bench-proxy bench-rollouts bench-training bench-statistics bench-drift bench-monitors bench-verify ballista-image docs docs-nycflights

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

packages: ## Install the Debian packages that are needed
	@scripts/install-packages.sh

target:
	@scripts/claim-target.sh

build: target ## Build the operator, the agent and the test cluster's program
	@# With an example among the targets, features are resolved as for tests: DataFusion is built once, not twice.
	cargo build --locked --workspace --bins --examples
	cargo build --locked --release -p windlass

programs: $(if $(BUILT),,packages target) ## Build Kubernetes and what belongs to it (some 20 minutes the first time)
	$(if $(BUILT),,cargo build --locked -p windlass-testcluster)
	$(TESTCLUSTER) programs

images: $(if $(BUILT),,packages build) ## Make the images of the operator, the agent, the demo and the end-to-end tests
	demo/build-images.sh $(IMAGES)

test-images: images ## Make the images that only tests need besides: PyTorch, JAX, XGBoost (1.2 GB)
	tests/frameworks/build-image.sh $(IMAGES)

test-ballista-node: packages build programs ## A monitor's window on a Ballista cluster of the chart, on a real node, an executor killed (builds DataFusion again)
	cd crates/ballista && WINDLASS_BALLISTA_NODE=yes cargo test --locked --test node -- --nocapture

ballista-image: packages build ## Make the image of windlass-ballista, for spec.engine: Ballista (builds DataFusion again, optimised: some 40 minutes)
	cd crates/ballista && cargo build --locked --release
	WINDLASS_BALLISTA_BINARY=$(dir $(OPERATOR))windlass-ballista demo/build-images.sh $(IMAGES)

check: target ## Format, lint, and the tests that need no cluster
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace --lib --bins
	python3 -m unittest discover -q demo/tests

lint: target ## Chart and manifests by Helm, kubeconform (Kubernetes 1.33 to 1.37) and kube-score; licences, sources and bans of crates
	@# Built only for this (some 4 minutes the first time), and not in the middle of it.
	@for program in helm kubectl kubeconform kube-score; do cargo run --quiet --locked -p windlass-testcluster --bin testcluster -- which $$program > /dev/null || exit 1; done
	cargo test --locked --workspace --test lint
	@scripts/cargo-tool.sh deny --locked --workspace --all-features check licenses sources bans
	@# A workspace of its own; DataFusion is there in the versions of this one.
	@cd crates/ballista && ../../scripts/cargo-tool.sh deny --locked --workspace --all-features --config ../../deny.toml check licenses sources
	@scripts/advisories.sh

sbom: ## What the images are made of, as CycloneDX, in target/sbom
	scripts/sbom.sh target/sbom
	WINDLASS_SBOM=$(CURDIR)/target/sbom cargo test --locked --workspace --test sbom

reproducible: ## Build the operator twice in different folders: the same bytes (some 10 minutes)
	scripts/reproducible.sh

# Images wait for downloads, Kubernetes for the compiler: they are made side by side.
images-and-programs: packages build
	@$(MAKE) --no-print-directory -j2 BUILT=yes images programs

test-images-and-programs: packages build
	@$(MAKE) --no-print-directory -j2 BUILT=yes test-images programs

test: test-images-and-programs ## Everything: unit, planners, real API server, end to end on a real node, chart and manifests
	@# Built only for tests (some 9 minutes), and not in the middle of one.
	@$(TESTCLUSTER) which kueue > /dev/null
	@$(TESTCLUSTER) which traefik > /dev/null
	@# Their tests say so and are skipped where they cannot be had.
	-@scripts/install-servers.sh > /dev/null
	scripts/test.sh
	python3 -m unittest discover demo/tests

test-ballista: target ## What a Ballista cluster counts, an executor killed in mid-query (builds DataFusion again, some 30 minutes)
	@# A workspace of its own: docs/decisions/0019.
	cd crates/ballista && cargo fmt --check
	cd crates/ballista && cargo clippy --locked --all-targets -- -D warnings
	cd crates/ballista && cargo test --locked -- --test-threads=1

test-rollouts: images-and-programs ## Fifty random roll-outs on a real node under constant load: no request fails (some 20 minutes)
	@$(TESTCLUSTER) which traefik > /dev/null
	WINDLASS_ROLLOUTS=50 cargo test --locked --workspace --test rollouts no_request_fails -- --nocapture

test-crashes: packages build programs ## The operator killed before and after each of its writes in the lives of all kinds (some 30 minutes)
	@# For the CRDs of the Gateway API, which lie beside it.
	@$(TESTCLUSTER) which traefik > /dev/null
	WINDLASS_CRASHES=all cargo test --locked --workspace --test crashes -- --nocapture

test-faults: packages build programs ## An API server that is not well, news that is late or lost, two leaders (some 8 minutes)
	@# For the CRDs of the Gateway API, which lie beside it.
	@$(TESTCLUSTER) which traefik > /dev/null
	WINDLASS_FAULTS=all cargo test --locked --workspace --test faults -- --nocapture

test-permissions: build programs ## The operator's role against the audit log of its tests: nothing denied, nothing never used
	rm -rf target/audit
	WINDLASS_AUDIT=$(CURDIR)/target/audit cargo test --locked --workspace --test operator
	WINDLASS_AUDIT=$(CURDIR)/target/audit cargo test --locked --workspace --test permissions

# Kubernetes is built only where it is run.
demo: $(if $(filter current,$(CLUSTER)),images,images-and-programs) ## Go round the loop once, on a real cluster, with real flights
	python3 demo/demo.py up

demo-down: ## Take away all that the demo made
	python3 demo/demo.py down

generate: target ## Write the CRDs, the chart's copies and deploy/windlass.yaml anew
	scripts/generate.sh

bench-operator: packages build programs ## The operator in numbers: up to 50,000 objects, kinds beside each other, shards (some 15 minutes)
	@# Optimised, the operator and what drives it: the bare client beside it is to be no slower than it can be.
	WINDLASS_TESTCLUSTER=$(TESTCLUSTER) cargo bench --locked -p windlass --bench operator

bench-monitors: packages build programs ## DriftMonitors in numbers: 2,000 of them, windows that say nothing new: writes, memory (some 11 minutes)
	WINDLASS_OPERATOR=$(OPERATOR) cargo test --locked --workspace --bench monitors

bench-rollouts: packages build programs ## ModelDeployments in numbers: 2,000 of them, 200 rolling at once: writes, memory, time
	WINDLASS_OPERATOR=$(OPERATOR) cargo test --locked --workspace --bench rollouts

bench-training: packages build programs ## TrainingJobs in numbers: writes, 10,000 of them, lost nodes, gangs that wait
	@# Built only for this (some 2 minutes), and not in the middle of it.
	@$(TESTCLUSTER) which jobset > /dev/null
	@# Optimised, the operator and what drives it: the bare client beside it is to be no slower than it can be.
	WINDLASS_TESTCLUSTER=$(TESTCLUSTER) cargo bench --locked -p windlass --bench training

docs-nycflights: packages build ## The table of docs/drift-nycflights13.md: a year of flights, day by day (some 5 minutes)
	scripts/nycflights13.py "$$WINDLASS_AGENT_BINARY" target/nycflights13

bench-statistics: packages ## Statistics in numbers: how often intervals hold the truth, a worse model passes, and a monitor cries wolf
	cargo bench --locked -p windlass-statistics --bench coverage --bench drift

bench-proxy: packages ## What the proxy costs: rates, latencies and memory, beside the bare server and KServe's agent
	@# Built only for this, and not in the middle of it. Where they cannot be had, their lines say so.
	-@$(TESTCLUSTER) which kserve-agent > /dev/null
	MLSERVER="$$(scripts/install-servers.sh mlserver || true)" cargo bench --locked -p windlass-agent --bench proxy

bench-drift: packages ## What a profile and a verdict on drift cost, beside a bare scan and beside Evidently, NannyML and whylogs
	@# Built only for this, optimised. Where a peer cannot be had, its line says so.
	cargo build --locked --release -p windlass-agent
	cargo bench --locked -p windlass-agent --bench drift_data --no-run
	scripts/bench-drift.sh

bench-verify: packages ## How fast a signed model of 2 GB is verified, and in how much memory
	@# The agent that is measured is the one that the images have: a build for development, its hashing optimised.
	cargo test --locked --workspace --bench verify

docs: ## Build the book (needs mdbook: `cargo install mdbook`)
	mdbook build docs
