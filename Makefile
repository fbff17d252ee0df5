# labelstack: every routine of the house. `make help` lists them.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PACKAGES := optimizers stacking base_models experiments labelstack
VENV_BENCH ?= .venv-bench

.DEFAULT_GOAL := help
.PHONY: help setup demo package test test-fast coverage fuzz mutants kills check site site-links bandit audit lint types layers docs format bench seeds contest-walk gpu clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

# Where Linux sees no NVIDIA card, torch's build for CPUs does, without gigabytes for cards. A machine that cannot
# reach its index takes what its own pip finds. pip would write the bytecode of all packages with one processor: a developer
# has all processors write it, and the demo leaves it to Python, which writes that of the third which is imported.
TORCH_CPU := https://download.pytorch.org/whl/cpu
define install
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if test "$$(uname -s)" = Linux && ! test -e /dev/nvidiactl && $(BIN)/python -c \
	  "import urllib.request as r; r.urlopen('$(TORCH_CPU)/torch/', timeout=5)" 2>/dev/null; \
	then index="--extra-index-url $(TORCH_CPU)"; else index=; fi; \
	set -x; $(BIN)/python -m pip install --quiet --no-compile $$index -e '.[$(1)]'
endef

# One environment: what the demo needs, or everything; either is made again when pyproject.toml changes.
$(VENV)/.installed: pyproject.toml
	$(call install,dev)
	@$(BIN)/python -m compileall -q -j 0 -x '[/\\]tests?[/\\]' $(VENV)/lib >/dev/null 2>&1 || true # templates fail
	@touch $(VENV)/.installed-demo $@

$(VENV)/.installed-demo: pyproject.toml
	$(call install,train)
	@touch $@

setup: $(VENV)/.installed ## Build .venv with the package and all that developing needs

demo: $(VENV)/.installed-demo ## The main job on the embedded data, offline; writes demo-run/report/
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/labelstack demo --out demo-run

# One process a processor, each with one thread: two that wait busily for each other are slower than one.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n auto --dist loadfile --durations=20 --durations-min=5

test: $(VENV)/.installed ## Run the whole test suite
	$(PYTEST)

test-fast: $(VENV)/.installed ## Run the tests that take seconds
	$(PYTEST) -m 'not slow'

fuzz: $(VENV)/.installed ## Throw 30 times as many made-up files at every reader and writer (an hour)
	LABELSTACK_FUZZ=long $(PYTEST) -m fuzz --timeout 7200

mutants: $(VENV)/.installed ## Break important lines one at a time; the suite must notice each (15 minutes)
	nice $(BIN)/python tests/mutants/run.py

kills: $(VENV)/.installed ## Kill every command that writes, 20 times each; nothing may be in parts or lost (20 minutes)
	$(BIN)/python -W ignore tests/kills/run.py --kills 20

coverage: $(VENV)/.installed ## Run the tests and list the lines that none reaches (a quarter longer)
	$(PYTEST) --cov --cov-report=term-missing:skip-covered

check: lint types layers bandit docs test ## All that CI asks: lint, types, layers, documentation, tests
	@echo "All checks passed. Which lines no test reaches: make coverage"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bandit: $(VENV)/.installed # dangerous calls in our own code
	$(BIN)/bandit -q -ll -r $(PACKAGES)

package: $(VENV)/.installed ## Build the wheel and the source distribution into dist/ and check what they hold
	rm -rf dist build
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python tests/package_content.py dist

audit: $(VENV)/.installed ## Look up known faults of the installed packages, where their list can be reached
	bash .ci/audit $(BIN)

types: $(VENV)/.installed
	$(BIN)/mypy

layers: $(VENV)/.installed
	$(BIN)/lint-imports

docs: $(VENV)/.installed
	$(BIN)/numpydoc lint $$(find $(PACKAGES) -name '*.py' -not -path 'experiments/cli/*') # typer documents those
	$(BIN)/python -m pytest -q --doctest-modules $(PACKAGES)

$(VENV)/.installed-docs: pyproject.toml
	$(call install,docs)
	@touch $@

SPHINX := cd docs && nice $(abspath $(BIN))/python -m sphinx -W --keep-going

site: $(VENV)/.installed-docs ## Build the documentation site, and run every block of code in it; docs/_build/html/index.html
	$(SPHINX) -q -b html . _build/html
	$(BIN)/python docs/check_links.py docs/_build/html

site-links: $(VENV)/.installed-docs ## Ask the internet whether the links out of the site still lead somewhere
	$(SPHINX) -b linkcheck -D nb_execution_mode=off -D plot_gallery=0 . _build/links

format: $(VENV)/.installed ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV_BENCH)/.installed: pyproject.toml
	@test -x $(VENV_BENCH)/bin/python || $(PYTHON) -m venv $(VENV_BENCH)
	$(VENV_BENCH)/bin/python -m pip install --quiet -e '.[bench]'
	@touch $@

bench: $(VENV_BENCH)/.installed ## Measure beside the peers (21 GB of disk); writes experiments/results/benchmarks.{md,json}
	$(VENV_BENCH)/bin/python -m experiments.benchmarks

SEEDS_RUN ?= seeds-run
SEEDS_PHOTOS ?= 1800

seeds: $(VENV)/.installed ## Train and report the recipes of the five seeds on FashionBlocks; the same command goes on
	test -f $(SEEDS_RUN)/data/labels.csv || $(BIN)/labelstack data synthesize --out $(SEEDS_RUN)/data --n-train $(SEEDS_PHOTOS) --n-validation 0 --n-test $$(( $(SEEDS_PHOTOS) / 3 ))
	for seed in 000 001 002 003 004; do \
	  $(BIN)/labelstack recipes seeds/$$seed --out $(SEEDS_RUN)/data/$$seed.toml --overwrite && \
	  $(BIN)/labelstack train $(SEEDS_RUN)/data/$$seed.toml --out $(SEEDS_RUN)/$$seed && \
	  $(BIN)/labelstack report $(SEEDS_RUN)/$$seed --out $(SEEDS_RUN)/$$seed-report --edges 20,100 || exit 1; \
	done
	$(BIN)/labelstack data describe $(SEEDS_RUN)/data/001.toml --table --label-files --out $(SEEDS_RUN)/description
	$(BIN)/labelstack learning-rate $(SEEDS_RUN)/data/001.toml --out $(SEEDS_RUN)/001-rates
	for seed in 000 002; do \
	  $(BIN)/labelstack explain $(SEEDS_RUN)/$$seed --images $(SEEDS_RUN)/data/photos/test --out $(SEEDS_RUN)/$$seed-maps || exit 1; \
	done

CONTEST_RUN ?= contest-run

contest-walk: $(VENV)/.installed ## From three files with urls to a submission, 2,000 photos on a loopback server
	$(BIN)/python -m experiments.benchmarks.contest_walk --out $(CONTEST_RUN)

GPU_RUN ?= gpu-run

gpu: ## Prove and measure the CUDA path with $(PYTHON) as it is, in 6 minutes; writes gpu-run/gpu.{json,md}
	$(PYTHON) -m experiments.benchmarks.gpu --out $(GPU_RUN)

clean: ## Remove environments, caches and the demo's output
	rm -rf $(VENV) $(VENV_BENCH) build dist docs/_build docs/gallery docs/reference/api docs/reference/measurements *.egg-info demo-run .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
