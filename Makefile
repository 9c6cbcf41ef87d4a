# One word a target. `make run` and `make test` install the Debian packages that they need.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

SWIFT ?= swift
ARGS ?=
SOAK_SECONDS ?= 3600
SEED ?=
# For each of the targets.
FUZZ_SECONDS ?= 60
FUZZ_TARGET ?= $(notdir $(wildcard Tests/RelayFuzz/Corpus/*))
FUZZ_ARGS ?=
# Without "address" a whole engine takes inputs several times as fast; what it misses then are
# mistakes in the few unsafe places.
FUZZ_SANITIZERS ?= fuzzer address
FUZZ_BUILD = .build/fuzz$(if $(filter address,$(FUZZ_SANITIZERS)),,-quick)

# What is tested with a relay that has several workers, too.
WORKER_TESTS := aioquic hijacking quic_portal rebinding restart wire

SANITIZER ?= address thread

RELAY := .build/release/quic-relay
CHECKS := .build/release/relay-checks
PYTHON := .build/python/bin/python
BENCHES := .build/bench/load .build/bench/loop .build/bench/hop
CROWD := .build/bench/crowd .build/bench/pulse

# Linked with the archives of the folder instead of with shared libraries.
STATIC := .build/static/release/quic-relay
ARCHIVES := .build/archives
CLANG ?= clang
PREFIX ?= /usr/local
DESTDIR ?=

# Network namespaces with NATs, and the QUIC programs that are no Python packages.
LABORATORY := iproute2 nftables conntrack ethtool ngtcp2-client chromium-headless-shell

define write-docs
@mkdir -p .build/docs
$(1) manual > .build/docs/quic-relay.1
$(1) --generate-completion-script bash > .build/docs/quic-relay.bash
$(1) --generate-completion-script zsh > .build/docs/_quic-relay
$(1) --generate-completion-script fish > .build/docs/quic-relay.fish
endef

.PHONY: help run demo build docs static install uninstall deb debcheck test unit simulate allocations counts python e2e interop bench million cost soak sanitize fuzz admission lint clean
.DEFAULT_GOAL := help

help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: build ## Build what is out of date and start the relay: make run ARGS="--port 4433"
	$(RELAY) $(ARGS)

demo: build ## See the relay at work: its dashboard, and simulated traffic of all kinds.
	$(SWIFT) build -c release --product relay-demo
	.build/release/relay-demo -- $(ARGS)

build: packages ## Build the relay into .build/release/quic-relay.
	$(SWIFT) build -c release --product quic-relay

docs: build ## Make the manual page and the shells' completions in .build/docs.
	$(call write-docs,$(RELAY))

static: packages ## Link Swift and ncurses into the program: it runs where neither is installed.
	@mkdir -p $(ARCHIVES)
	for name in ncursesw tinfo stdc++; do \
		cp "$$($(CLANG) -print-file-name=lib$$name.a)" $(ARCHIVES); done
	$(SWIFT) build -c release --product quic-relay --static-swift-stdlib \
		--scratch-path .build/static -Xlinker -L$(CURDIR)/$(ARCHIVES) -Xlinker -s
	$(call write-docs,$(STATIC))

install: static ## Install program, units, manual: make install PREFIX=/usr DESTDIR=/tmp/root
	RELAY=$(CURDIR)/$(STATIC) DOCS=$(CURDIR)/.build/docs PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) \
		deploy/install install

uninstall: ## Remove what make install installed, except for the configuration.
	PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) deploy/install uninstall

deb: static ## Make a Debian package in .build/packages.
	RELAY=$(CURDIR)/$(STATIC) DOCS=$(CURDIR)/.build/docs deploy/debian/build .build/packages

# In a machine of its own that boots systemd; needs root.
debcheck: deb $(PYTHON) ## Install the package into a new Debian, let systemd run it, remove it.
	@.ci/install-packages debootstrap lintian systemd-container
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pytest Tests/Package

test: unit simulate allocations counts python e2e ## Run every test, some minutes on two cores.
	@echo "make test: all passed"

unit: packages ## Tidy, unit, edge and program tests.
	$(SWIFT) build --build-tests
	$(SWIFT) test --skip-build

simulate: checks ## 200 seeds of the simulation, in two processes that must agree, and 200 others with two workers.
	$(CHECKS) simulate --seeds 200 | tee .build/simulation-1.txt
	$(CHECKS) simulate --seeds 200 > .build/simulation-2.txt
	cmp .build/simulation-1.txt .build/simulation-2.txt
	$(CHECKS) simulate --first-seed 301 --seeds 200 --workers 2

allocations: checks ## Heap allocations of a forwarding relay: none.
	$(CHECKS) allocations --datagrams 1000000

# The tests of the guard and of the other benchmarks run where nothing else was asked for.
counts: build checks $(BENCHES) ## Instructions and allocations for a datagram: no more than Benchmarks/thresholds.txt says.
	@.ci/install-packages python3 iproute2 ethtool
	python3 Benchmarks/counts.py $(ARGS)
	$(if $(ARGS),,PYTHONDONTWRITEBYTECODE=1 python3 -m unittest discover -s Benchmarks)

python: $(PYTHON) ## The Python integration: its tests, and its types.
	cd integrations/python && PYTHONDONTWRITEBYTECODE=1 $(CURDIR)/$(PYTHON) -m pytest
	cd integrations/python && $(CURDIR)/$(PYTHON) -m mypy --cache-dir=$(CURDIR)/.build/mypy

e2e: build $(PYTHON) .build/faults.so ## Real QUIC programs and raw sockets, and the dashboard in a terminal.
	@.ci/install-packages tmux coturn $(LABORATORY)
	@.ci/unpack-package caddy .build/caddy
	PYTHONDONTWRITEBYTECODE=1 QUIC_RELAY_BINARY=$(RELAY) $(PYTHON) -m pytest Tests/EndToEnd
	PYTHONDONTWRITEBYTECODE=1 QUIC_RELAY_BINARY=$(RELAY) END_TO_END_WORKERS=2 \
		$(PYTHON) -m pytest $(addprefix Tests/EndToEnd/test_,$(WORKER_TESTS:=.py))

interop: build $(PYTHON) ## All QUIC programs through all NATs, half an hour, and Documentation/interop.md anew.
	@.ci/install-packages $(LABORATORY)
	@.ci/unpack-package caddy .build/caddy
	PYTHONDONTWRITEBYTECODE=1 QUIC_RELAY_LONG=1 QUIC_RELAY_BINARY=$(RELAY) \
		$(PYTHON) -m pytest Tests/EndToEnd/lab
	$(PYTHON) Tests/EndToEnd/lab/interop.py > .build/interop.md
	mv .build/interop.md Documentation/interop.md

bench: build checks $(BENCHES) ## Measure the relay beside others: make bench ARGS="--list"
	@.ci/install-packages python3 iproute2 ethtool
	PYTHONDONTWRITEBYTECODE=1 python3 Benchmarks/bench.py $(ARGS)

million: build $(CROWD) ## Measure a relay with a million sessions: make million ARGS="--sessions 100000"
	@.ci/install-packages python3 tmux
	PYTHONDONTWRITEBYTECODE=1 python3 Benchmarks/million.py $(ARGS)

cost: build ## Measure what the dashboard costs, ten minutes: make cost ARGS="--only 50"
	$(SWIFT) build -c release --product relay-demo
	python3 Tests/EndToEnd/dashboard_cost.py $(ARGS)

# Two relays at the same time, one of a single worker and one of two. About a fifth of a core each.
soak: build $(PYTHON) ## An hour of mischief, with the books kept: make soak SOAK_SECONDS=3600 SEED=1
	@.ci/install-packages tmux
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=Tests/EndToEnd QUIC_RELAY_BINARY=$(RELAY) \
		$(PYTHON) -m soak --seconds $(SOAK_SECONDS) $(if $(SEED),--seed $(SEED))

# Each in a directory of its own, so that the next build is incremental. Each report is a file: one fails
# the run, whatever the tests say. Tests/EndToEnd/sanitized.py says what is left out, and why.
sanitize: $(addprefix sanitize-,$(SANITIZER)) ## All tests under the address and thread sanitizers: make sanitize SANITIZER=thread
	@echo "make sanitize: all passed, and nothing was reported ($(SANITIZER))"

.PHONY: sanitize-address sanitize-thread
sanitize-address sanitize-thread: sanitize-%: packages $(PYTHON) .build/faults.so
	@.ci/install-packages tmux coturn $(LABORATORY)
	@mkdir -p .build/$*/reports
	rm -f .build/$*/reports/*
	for name in options $(if $(filter thread,$*),mutex); do \
		$(CLANG) -std=gnu11 -O2 -Wall -Wextra -Werror -DREPORTS='"$(CURDIR)/.build/$*/reports"' \
			-DSUPPRESSIONS='"$(CURDIR)/Tests/Sanitizers"' \
			-c -o .build/$*/$$name.o Tests/Sanitizers/$$name.c; done
	$(SWIFT) build --build-tests --sanitize=$* --scratch-path .build/$* \
		-Xlinker $(CURDIR)/.build/$*/options.o \
		$(if $(filter thread,$*),-Xlinker $(CURDIR)/.build/$*/mutex.o)
	export SANITIZER=$* PYTHONDONTWRITEBYTECODE=1 QUIC_RELAY_BINARY=.build/$*/debug/quic-relay; \
	status=0; \
	$(SWIFT) test --skip-build --sanitize=$* --scratch-path .build/$* || status=1; \
	$(PYTHON) -m pytest Tests/EndToEnd || status=1; \
	END_TO_END_WORKERS=2 $(PYTHON) -m pytest \
		$(addprefix Tests/EndToEnd/test_,$(WORKER_TESTS:=.py)) || status=1; \
	for report in $$(find .build/$*/reports -type f); do cat "$$report"; status=1; done; \
	exit $$status

# Dead code must not be stripped: the linker takes libFuzzer's counters for dead.
fuzz: packages ## Feed what reads foreign bytes mutated ones: make fuzz FUZZ_SECONDS=600 FUZZ_TARGET=line
	$(SWIFT) build -c release --product relay-fuzz --scratch-path $(FUZZ_BUILD) \
		$(addprefix --sanitize ,$(FUZZ_SANITIZERS)) --disable-dead-strip \
		-Xswiftc -DFUZZING -Xswiftc -enable-testing \
		-Xswiftc -sanitize-coverage=edge,indirect-calls,trace-cmp,inline-8bit-counters
	for target in $(FUZZ_TARGET); do \
		mkdir -p .build/fuzz/corpus/$$target .build/fuzz/findings; \
		FUZZ_TARGET=$$target SWIFT_BACKTRACE=enable=no $(FUZZ_BUILD)/release/relay-fuzz \
			-max_total_time=$(FUZZ_SECONDS) -max_len=6000 -print_final_stats=1 \
			-artifact_prefix=.build/fuzz/findings/$$target- $(FUZZ_ARGS) \
			.build/fuzz/corpus/$$target Tests/RelayFuzz/Corpus/$$target; done

admission: ## Compile the overload filter, a program for the kernel, into the tree.
	Sources/CLinux/admission/generate --clang $(CLANG)

lint: ## Check the style; swift format -i -r Sources Tests Package.swift mends most of it.
	Sources/CLinux/admission/generate --clang $(CLANG) --check
	$(SWIFT) format lint --strict --recursive Sources Tests Package.swift

clean: ## Remove everything that was built.
	rm -rf .build

.PHONY: packages checks
packages:
	@.ci/install-packages libncurses-dev

checks: packages
	$(SWIFT) build -c release --product relay-checks

# Loaded before the C library, to let system calls fail.
.build/faults.so: Tests/EndToEnd/faults/faults.c
	@mkdir -p $(@D)
	$(CLANG) -std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $< -ldl

.build/bench/%: Benchmarks/%/*
	@mkdir -p $(@D)
	$(CLANG) -std=gnu11 -O2 -Wall -Wextra -Werror -o $@ $(filter %.c,$^) -lm -lpthread

# Remade when the requirements change; --clear, since half a virtual environment is worse than none.
# The interpreter itself is a link to the system's, whose age says nothing.
$(PYTHON): .build/python/requirements.txt ;

.build/python/requirements.txt: Tests/EndToEnd/requirements.txt
	@.ci/install-packages python3-venv
	python3 -m venv --clear .build/python
	.build/python/bin/pip install --quiet --disable-pip-version-check -r $<
	cp $< $@
