# requorum: every target works on a fresh Debian with Go, git, make and root.
# Nothing is fetched but Go modules, pinned in go.mod, go.sum and .ci, and by the tests
# Debian's packages, which apt checks, and one of npm's, pinned by its sum.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN     := $(CURDIR)/bin/requorum
TOOL    := $(GO) tool -modfile=.ci/tools/go.mod
export CGO_ENABLED ?= 0

.PHONY: build test readers e2e bed demo bench damage modelcheck mutants loss matrix crashmatrix torture lint fmt clean

build: ## the binary, in bin/
	$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) ./cmd/requorum

test: build readers ## all tests, on real etcd
	REQUORUM_BIN=$(BIN) $(TOOL) gotestsum --format pkgname-and-test-fails -- -count=1 -timeout 40m ./...

readers: ## conftest, Mermaid and Chromium for tests/review, once for each pin
	$(GO) run ./tests/review/fetch

e2e: build ## real hosts (systemd, ssh, disks, networks) under writers, with faults; its table goes to docs/e2e.md
	REQUORUM_E2E=full REQUORUM_BIN=$(BIN) $(GO) test -count=1 -timeout 90m -v ./tests/e2e/...

bed: ## three such hosts, and a shell on their controller; BED="-hosts 5 -cluster packaged" for others
	$(GO) run ./tests/e2e/bedshell $(BED)

demo: build ## a cluster is lost and restored before your eyes
	$(GO) run ./tests/demo -requorum $(BIN)

bench: build ## figures, side by side with the alternatives; BENCH="-mb 300,1200,4800" for another run
	$(GO) build -trimpath -o bin/ ./tests/bench
	$(GO) build -modfile=.ci/tools/go.mod -o bin/ go.etcd.io/etcd/etcdutl/v3 go.etcd.io/etcd/etcdctl/v3
	bin/bench -requorum $(BIN) -etcdutl bin/etcdutl -etcdctl bin/etcdctl -write docs/benchmarks.md $(BENCH)

damage: ## every byte of a snapshot changed, every length cut, and 2,000 places of a large one
	REQUORUM_DAMAGE=full $(GO) test -count=1 -timeout 60m -v -run 'Damage|EveryByte|LargeRandom|Flipped|Cut' ./executor/snapshot ./executor/etcd ./executor/survivor

modelcheck: ## the planner against its promises, in every state within bounds
	$(GO) run ./tests/modelcheck -bound full

mutants: ## planted planner faults, and whether the model check finds each
	$(GO) run ./tests/mutants

loss: ## kill -9 under writers, 200 rounds on real etcd 3.4 to 3.7: what is lost
	$(GO) run ./tests/loss

matrix: ## snapshots of etcd 3.4 to 3.7, restored to servers of each
	$(GO) run ./tests/matrix

crashmatrix: build ## requorum and members are killed at every boundary of the journal, in every scenario
	REQUORUM_BIN=$(BIN) $(GO) run ./tests/crashmatrix $(CRASHMATRIX)

N ?= 300
torture: build ## N rounds of random targets and faults under writers and readers, the history checked
	REQUORUM_BIN=$(BIN) $(GO) run ./tests/torture -rounds $(N) $(TORTURE)

lint: ## formatting, vet, staticcheck
	@test -z "$$(gofmt -l cmd spec planner executor tests)" || { gofmt -l cmd spec planner executor tests; echo 'run: make fmt'; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

fmt: ## the one layout of Go and HCL files
	gofmt -w cmd spec planner executor tests
	$(GO) run ./cmd/requorum fmt -r examples

clean: ## what the targets above made
	rm -rf bin
