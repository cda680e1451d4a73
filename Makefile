# The index of everything one can do here; `make` alone prints it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

FORMS := rest ws html html_ws
MUSL := $(shell uname -m)-unknown-linux-musl
container := scripts/container

.PHONY: help setup
help: ## print this
	@awk -F ':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[^\t#].*:.*## /{split($$1, names, " "); for (i = 1; i in names; i++) printf "  %-28s %s\n", names[i], $$2}' $(MAKEFILE_LIST)

##@ Test

.PHONY: test test-rust test-docs chaos soak test-browser test-chart test-control-plane e2e fmt lint deny deny-advisories
test: ## everything that must hold: formatting, lints, licences, all tests, the browser, the image
	@scripts/test
test-rust: ## the Rust tests alone, with a Redis and a Valkey of their own
	@scripts/test rust
chaos: ## faults under load, every task accounted for; DURATION=10m SEED=1
	@DURATION=$(DURATION) SEED=$(SEED) scripts/test chaos
test-docs: ## the documentation: builds as a site, says what the code says, and its tutorial works
	@scripts/test docs
test-browser: ## the web page in a real Chromium
	@scripts/test browser
test-chart: ## the chart: lints, unit tests of its templates, generated files up to date
	@scripts/test chart
test-control-plane: ## the operator against a real API server, without a node
	@scripts/test control-plane
e2e: ## every scenario on a real Kubernetes with a node, images included (needs root); TIDEMILL_E2E="1 4" picks some
	@scripts/test e2e
soak: ## watch the memory of API and worker under steady load; DURATION=30m, or as long as wanted
	@cargo build --release --locked --package tidemill-cli
	@TIDEMILL_BIN=$(CURDIR)/target/release/tidemill scripts/with-servers \
	  cargo run --quiet --locked --package tidemill-tests --bin soak -- $(or $(DURATION),30m)
fmt: ## format the code
	@cargo fmt --all
lint: ## clippy, every warning an error
	@scripts/test lint
deny: ## licences, banned crates and sources of every dependency
	@scripts/test deny
deny-advisories: setup-deny ## known vulnerabilities in dependencies (fetches a database with git)
	@.tools/bin/cargo-deny check advisories

##@ Build

.PHONY: image images binary bench bench-peers openapi crds docs picture clean
setup: ## install all that building and testing need
	@scripts/setup
binary: setup-musl ## the static binary, in dist/, and that of examples/custom-worker
	@cargo build --release --locked --package tidemill-cli --package custom-worker --target $(MUSL)
	@install -D target/$(MUSL)/release/tidemill dist/tidemill
	@install -D target/$(MUSL)/release/custom-worker dist/custom-worker
image: setup-image binary ## the images base, app_rest, app_ws, app_html and app_html_ws around that binary, in seconds
	@$(container) pack
images: image ## and the broker's, the example's and the tests' own images, all of them also as archives in dist/images
	@scripts/images
bench: ## measure enqueue, drain and idle latency on both brokers
	@scripts/with-servers cargo run --release --locked --package tidemill-benches
bench-peers: ## measure other queues and Tidemill side by side; PEERS="bullmq tidemill" ROWS="drain100 idle" ROUNDS=1 pick some
	@benches/peers/run $(if $(PEERS),--peers "$(PEERS)") $(if $(ROWS),--rows "$(ROWS)") $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SMALL),--small $(SMALL))
openapi: ## write the OpenAPI document anew: crates/api/openapi.json
	@cargo run --quiet --locked --package tidemill-cli -- openapi > crates/api/openapi.json.new
	@mv crates/api/openapi.json.new crates/api/openapi.json
crds: ## write the CustomResourceDefinition anew, in crds/ and in the chart
	@cargo run --quiet --locked --package tidemill-cli -- operator crd > crds/taskqueues.tidemill.dev.yaml.new
	@mv crds/taskqueues.tidemill.dev.yaml.new crds/taskqueues.tidemill.dev.yaml
	@scripts/chart crd
docs: setup-mdbook ## write the reference anew from the code, and build the documentation as a site: target/book
	@cargo run --quiet --locked --package tidemill-cli --example reference -- docs/src/reference
	@.tools/mdbook/bin/mdbook build docs
picture: ## take the picture of the page anew that the README shows: docs/page.png
	@scripts/setup node browser
	@cargo build --quiet --locked --package tidemill-cli
	@node tests/browser/picture.mjs
clean: ## remove what was built (data and fetched tools stay); ends the test cluster
	@tests/cluster/cluster down
	@cargo clean
	@rm -rf dist

##@ A Kubernetes on this machine, for tests and for trying things out

.PHONY: cluster-build cluster-up cluster-load cluster-down
cluster-build: ## compile it from Go modules (11 minutes the first time)
	@scripts/setup cluster
cluster-up: cluster-build ## start it; NODE=0 starts the control plane alone, which needs no root
	@tests/cluster/cluster up $(if $(filter 0,$(NODE)),,--node) >/dev/null
	@echo "export KUBECONFIG=$$(tests/cluster/cluster kubeconfig) KUBECACHEDIR=$(CURDIR)/target/cluster/state/kubectl PATH=$(CURDIR)/target/cluster/bin:$(CURDIR)/.tools/bin:\$$PATH"
cluster-load: ## load the images that `make images` built
	@tests/cluster/cluster load dist/images/*.tar
cluster-down: ## stop it and remove what it left
	@tests/cluster/cluster down

##@ Run on this machine

.PHONY: local_build local_test $(FORMS:%=local_run_app_%)
local_build: ## build the program
	@cargo build --release --locked --package tidemill-cli
local_test: test-rust ## run the Rust tests
local_run_app_rest: ## run with REST
local_run_app_ws: ## run with REST and WebSocket
local_run_app_html: ## run with REST and the web page
local_run_app_html_ws: ## run with REST, WebSocket and the web page
$(FORMS:%=local_run_app_%): local_run_app_%: local_build
	@target/release/tidemill standalone --config config/app_$*.yaml --form $*

##@ Run in containers (docker, podman or buildah, whichever is there)

.PHONY: build_images run_tests stop_all stop_rm_all
.PHONY: $(FORMS:%=run_app_%_image) $(FORMS:%=stop_app_%) $(FORMS:%=stop_rm_app_%)
build_images: setup-image ## build the images core, base, app_rest, app_ws, app_html and app_html_ws
	@$(container) build
run_tests: setup-image ## run the Rust tests in a container of the image core
	@$(container) build core
	@$(container) test
run_app_rest_image: ## start a container with REST
run_app_ws_image: ## start a container with REST and WebSocket
run_app_html_image: ## start a container with REST and the web page
run_app_html_ws_image: ## start a container with REST, WebSocket and the web page
$(FORMS:%=run_app_%_image): run_app_%_image:
	@$(container) run $*
stop_app_rest stop_app_ws stop_app_html stop_app_html_ws: ## stop that container
$(FORMS:%=stop_app_%): stop_app_%:
	@$(container) stop $*
stop_rm_app_rest stop_rm_app_ws stop_rm_app_html stop_rm_app_html_ws: ## stop and remove that container
$(FORMS:%=stop_rm_app_%): stop_rm_app_%:
	@$(container) rm $*
stop_all: ## stop all four
	@$(container) stop
stop_rm_all: ## stop and remove all four
	@$(container) rm

setup-%:
	@scripts/setup $*
