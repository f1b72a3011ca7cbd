# The two commands of the README are `make lab` and `make test`; `make help` names the others.
# Everything is set up by the command that needs it, once: a second run finds it done.

BIN := .venv/bin
LAB := $(BIN)/swarmctl -C stacks/lab
# Tests of labs and hosts wait more than they count: three at a time keep two cores busy.
PYTEST := $(BIN)/python -m pytest -rs --durations=20 --no-loadscope-reorder --dist loadgroup -n 3
DATA = "$${XDG_DATA_HOME:-$$HOME/.local/share}/swarmctl"
LINTS := code format types imports shell
# Whether the lab of stacks/lab, or what is recorded of it, is on this machine: without it nothing is set up to remove it.
LAB_THERE = find $(DATA)/stacks $(DATA)/lab -mindepth 1 -maxdepth 1 -name 'lab-*' 2>/dev/null | grep -q .

.DEFAULT_GOAL := help
.PHONY: help setup machine lab lab-down test test-fast soak bench lint $(LINTS:%=lint-%) readme constraints clean

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: ## Make .venv with swarmctl in it
	@scripts/setup

machine: setup ## Install what labs need: system packages, the Pulumi engine, wireguard-go
	@$(BIN)/python scripts/prepare_machine.py

lab: machine ## Bring up the cluster of stacks/lab on this machine and show it
	@$(LAB) apply --yes
	@$(LAB) status

lab-down: ## Take that cluster away
	@if $(LAB_THERE); then scripts/setup && $(LAB) destroy --yes; else echo "There is no lab."; fi

test: machine ## Run every test
	@$(PYTEST)

test-fast: setup ## Run the tests that need neither engine nor network namespaces
	@$(PYTEST) -m "not integration and not slow and not soak"

soak: machine ## Run the long tests
	@$(PYTEST) -n 0 -m soak

bench: machine ## Run the benchmarks of bench/
	@scripts/setup bench
	@failed=; for bench in bench/*.py; do \
	  echo "== $$bench"; $(BIN)/python "$$bench" || failed="$$failed $$bench"; done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

lint: $(LINTS:%=lint-%) ## Check the code without running it

lint-code: setup
	@$(BIN)/ruff check .

lint-format: setup
	@$(BIN)/ruff format --check .

lint-types: setup
	@$(BIN)/mypy

lint-imports: setup
	@$(BIN)/lint-imports

lint-shell:
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run scripts/setup swarmctl/kinds/mesh/failover.sh swarmctl/hosts/mesh_probes.sh; else echo "shellcheck is not installed: skipped"; fi

readme: machine ## Capture the output shown in README.md anew, on a lab of its own
	@$(BIN)/python scripts/capture_readme.py

constraints: ## Pin the newest versions of all dependencies into constraints.txt
	@scripts/setup --pin

clean: ## Take the lab away and remove everything that was made here
	@if $(LAB_THERE); then $(MAKE) --no-print-directory lab-down; fi
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
