# `make bundle`, `make test` and `make lab` are what most need; `make help` lists the rest.
# Everything is set up on the way, once: a virtual environment in .venv, and Debian's tools where root or sudo allow it.

PYTHON ?= /usr/bin/python3
CONFIG ?= config/calico.yaml
OUTPUT ?= dist
LAB    ?= make
VENV   := .venv
BIN    := $(VENV)/bin

.DELETE_ON_ERROR:
.PHONY: docs bundle test soak bench lab clean help

bundle: $(VENV)/.bundle  ## build dist/: the verified install bundle
	@$(BIN)/release bundle --config $(CONFIG) --output $(OUTPUT)

test: $(VENV)/.test  ## lint, type, unit, integration and e2e, each through tox
	@$(BIN)/python -m tests.suites

soak: $(VENV)/.test  ## the same tests with larger counts, for hours rather than minutes
	@DCOS_CALICO_SOAK=1 $(BIN)/python -m tests.suites

bench: $(VENV)/.test  ## print figures, as ratios against a reference run beside them
	@$(BIN)/tox -q -e bench

lab: $(VENV)/.bundle  ## a whole cluster on this machine: up, the bookstore story, down (needs root)
	@sh tools/setup iproute2 -- tc -V
	@sh tools/setup systemd-container -- systemd-nspawn --version
	@sh tools/setup mmdebstrap -- mmdebstrap --version
	@sh tools/setup nftables -- nft --version
	@$(BIN)/lab down --name $(LAB) >/dev/null
	@mkdir -p build
	@status=0; $(BIN)/lab up --name $(LAB) && $(BIN)/lab story bookstore --name $(LAB) --html build/bookstore.html || status=$$?; \
	    $(BIN)/lab down --name $(LAB); exit $$status

$(VENV)/bin/pip:
	@sh tools/setup python3-venv -- "$(PYTHON)" -c 'import ensurepip, venv'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.bundle: requirements/bundle.txt pyproject.toml tools/setup | $(VENV)/bin/pip
	@sh tools/setup xz-utils -- xz --version
	@$(BIN)/pip install -q -q --disable-pip-version-check --require-hashes -r requirements/bundle.txt
	@$(BIN)/pip install -q -q --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.bundle
	@$(BIN)/pip install -q -q --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

docs: $(VENV)/.test  ## check the documentation, and build it as a site in build/site
	@$(BIN)/python -m manual build/site

clean:  ## remove what was built here (the download cache stays)
	rm -rf $(OUTPUT) $(VENV) .tox build .mypy_cache .ruff_cache .import_linter_cache .hypothesis

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)
