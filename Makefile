# make lists the targets.
GO ?= go
CLANG ?= clang-19
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS = -s -w -X github.com/shikra-sensor/shikra/sensor/internal/cli.version=$(VERSION)
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
TOOLS = $(CURDIR)/tools/go.mod

# The packages whose tests need neither a kernel hook nor an amd64 machine: run again on the other architectures.
PURE = ./sensor/internal/event ./sensor/internal/arena ./sensor/internal/decode ./sensor/internal/state/... \
       ./sensor/internal/field ./sensor/internal/format ./sensor/internal/rule/... ./sensor/internal/wasm \
       ./sensor/internal/host ./sensor/internal/capture ./sensor/internal/output ./sensor/internal/config \
       ./sensor/internal/pipeline

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./shikra for this machine: static, stripped
	$(BUILD) -o shikra ./sensor/cmd/shikra

.PHONY: run
run: build ## build and run the sensor (as root)
	./shikra run

.PHONY: test
test: ## all tests of this machine, a package at a time: the live ones, which need root, see what the whole machine does
	cd wasmabi && $(GO) test ./...
	$(GO) test -p 1 ./...

.PHONY: check
check: lint generate-check cross pure ## lint, generated files fresh, cross-builds, the pure packages on other architectures

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@bad=$$(gofmt -l .); test -z "$$bad" || { echo "not gofmt'ed: $$bad" >&2; exit 1; }
	cd wasmabi && $(GO) vet ./...
	$(GO) vet ./...
	$(GO) tool -modfile=$(TOOLS) staticcheck ./...

.PHONY: generate
generate: ## make the generated files anew (needs clang-19 and libbpf's headers)
	cd wasmabi && $(GO) generate ./...
	CLANG=$(CLANG) $(GO) generate ./...

.PHONY: generate-check
generate-check: generate ## fail if a generated file isn't fresh
	git diff --exit-code --stat -- . || { echo "generated files differ: commit what make generate makes" >&2; exit 1; }

.PHONY: cross
cross: ## build for every architecture we ship
	@for a in amd64 arm64 arm:6 arm:7 riscv64; do \
	  echo "build linux/$$a"; GOOS=linux GOARCH=$${a%%:*} GOARM=$${a##*:} $(BUILD) -o /dev/null ./sensor/cmd/shikra || exit 1; done

.PHONY: pure
pure: ## run the pure packages' tests for arm v7, arm64 and riscv64 under qemu-user
	@for a in arm:qemu-arm-static arm64:qemu-aarch64-static riscv64:qemu-riscv64-static; do \
	  echo "test linux/$${a%%:*}"; GOOS=linux GOARCH=$${a%%:*} GOARM=7 CGO_ENABLED=0 \
	    $(GO) test -short -exec $${a##*:} $(PURE) || exit 1; done

.PHONY: bench
bench: ## ns per event of decode, state, rules and the whole pipeline
	$(GO) test -run '^$$' -bench . -benchtime 1s ./sensor/internal/decode ./sensor/internal/state ./sensor/internal/rule/compile ./sensor/internal/host ./sensor/internal/pipeline

.PHONY: bench-probe
bench-probe: build ## the bars of cost: with the sensor and without in turn, each with its verdict (as root; a minute)
	$(GO) run ./sensor/internal/loadgen/cmd/shikra-bench -shikra ./shikra

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (20s)
	@$(GO) list -f '{{.Dir}}' ./... | while read d; do grep -ho '^func Fuzz[A-Za-z0-9_]*' $$d/*_test.go 2>/dev/null | sed 's/func //' | \
	  while read f; do echo "$$d $$f"; (cd $$d && $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-20s} .) || exit 1; done || exit 1; done

.PHONY: test-kernels
test-kernels: ## the probe under other kernels in qemu, two at a time, half an hour each (SERIES="5.10 6.1" ARCHES=arm64 choose)
	JOBS=2 sensor/internal/probe/kernels/kernels.sh

.PHONY: test-state
test-state: ## compare the state with /proc every second for a minute on a busy machine (as root)
	SHIKRA_LIVE=1 SHIKRA_STATE_TIME=60s $(GO) test -count=1 -v -run TestStateEqualsProc ./sensor/internal/proccheck

.PHONY: test-storm
test-storm: ## a million forks, 100 million opens, 200,000 fds, a minute of spawning: memory and cost flat, nothing left behind (minutes; as root)
	SHIKRA_STORM=1 $(GO) test -count=1 -timeout 60m -v -run '^TestStorm' ./sensor/internal/state
	SHIKRA_STORM=1 SHIKRA_LIVE=1 $(GO) test -p 1 -count=1 -v -run '^TestStorm' ./sensor/internal/proccheck ./sensor/internal/probe

.PHONY: test-kernels-fast kernels-fast-amd64 kernels-fast-arm64
test-kernels-fast: ## two of these kernels and some of the tests: some minutes
	$(MAKE) -j2 kernels-fast-amd64 kernels-fast-arm64

kernels-fast-amd64:
	SERIES=6.1 ARCHES=amd64 TESTS="hooks probe" RUN='^Test(Open|Exec|Clone|Sock|Compat|ExactPaths|SelfCheck|Tells.*)$$' sensor/internal/probe/kernels/kernels.sh

kernels-fast-arm64:
	SERIES=6.12 ARCHES=arm64 TESTS=fexit RUN='^Test(Open|Exec|Clone|ExactPaths|SelfCheck|FexitStructure)$$' sensor/internal/probe/kernels/kernels.sh

.PHONY: budgets
budgets: ## measure anew what the verifier has to do for each program, under the same kernels
	JOBS=2 BUDGETS=write TESTS=hooks sensor/internal/probe/kernels/kernels.sh

.PHONY: size
size: build ## the binary's size, against its budget of 30 MB
	@n=$$(stat -c %s shikra); echo "shikra: $$n bytes of 30000000"; test $$n -lt 30000000
