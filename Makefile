# One verb for each thing that is done here. CONTRIBUTING.md says when to use which.

SHELL := /bin/sh
FUZZTIME ?= 1m
# For a long simulation: make sim SEED=1 RUNS=100000
SEED ?= 0
RUNS ?= 0
# For long chaos: make chaos MINUTES=30 SEED=7
MINUTES ?= 1
BREAK ?=
DEEDS ?= 2
STATES ?= 6000000

.PHONY: help test test-windows check build sim chaos custody starve bench exhaustive fuzz readme-test seed-claims

help: ## show the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

test: ## everything that has to hold, on this machine: check, then all tests with the race detector; WINDOWS=1: and test-windows
	@scripts/test.sh

test-windows: ## the tests of the Windows side under wine, which is fetched; ROUNDS says how often
	@scripts/test-windows.sh

check: ## format, vet and build for every system, staticcheck, the rules of the house
	@scripts/check.sh
	go test ./internal/tidy

build: ## the command, as bin/pairguard
	CGO_ENABLED=0 go build -trimpath -o bin/pairguard ./cmd/pairguard

sim: ## many simulated fault schedules: SEED=first (0: random) RUNS=how many BREAK=a broken variant (list: which)
	@SEED=$(SEED) RUNS=$(RUNS) BREAK=$(BREAK) scripts/sim.sh

bench: ## the figures that are promised, each with its goal, on a quiet machine: about 6 minutes
	@SEED=$(SEED) scripts/bench.sh

exhaustive: ## every order of everything, with DEEDS deeds put in at every point (minutes)
	@DEEDS=$(DEEDS) STATES=$(STATES) BREAK=$(BREAK) scripts/exhaustive.sh

chaos: ## real processes under a seeded mix of faults; MINUTES and SEED say how long and which (SEED=0: a random one)
	CGO_ENABLED=0 go test ./internal/e2e -run TestChaos -count 1 -v -timeout 0 -args -chaos $(MINUTES)m -chaos-seed $(SEED)

custody: ## a program that prints all the time under supervisors that are killed and stopped 490 times: nothing is lost; 5 minutes
	go run ./bench/custody

starve: ## real pairs without CPU, in every way there is, 3 minutes each; needs root; some 15 minutes, or MINUTES=1 for a short form
	go run ./bench/starve -minutes $(if $(filter command line environment,$(origin MINUTES)),$(MINUTES),12)

fuzz: ## each fuzz target for FUZZTIME
	@scripts/fuzz.sh $(FUZZTIME)

readme-test: ## run what README.md and README.zh-CN.md show, in a fresh clone with empty Go caches
	@scripts/readme-test.sh

seed-claims: ## measure the seven claims of the article that the idea comes from
	go run ./bench/seedclaims
