# Two commands do everything: `make simulate` and `make test`. The rest is for those who change the code.
PY      := .venv/bin/python
PYTHON3 ?= python3
TORCH   := .venv/torch
NOTEBOOKS := .venv/notebooks
PEERS   := .venv/peers
LEARN   := .venv/learn
DATA    ?=
ARGS    ?=

.PHONY: simulate test experiments faults notebooks test-torch bench bench-encryption bench-spam setup-torch kernel check lint types imports stubs lock setup setup-dev containers clean help

help:            ## say what can be done here
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

simulate: setup  ## run a whole federation on this machine   (DATA=folder for real mail, ARGS="--rounds 10")
	@$(PY) -m simulation $(if $(DATA),--data $(DATA)) $(ARGS)

test: setup-dev  ## run every test that needs no containers
	@$(PY) -m pytest -n 2 -m "not containers" $(ARGS)

faults: setup-dev ## break things for about half an hour and write the table of docs/reliability.md   (ARGS="--quick"; ARGS="lossy fuzz")
	@OPENBLAS_NUM_THREADS=1 $(PY) -m faults $(ARGS)

containers: setup-dev ## run `docker compose up` and its failure tests for real
	@$(PY) -m pytest -m containers tests/test_compose.py

test-torch: setup-torch ## compare values and gradients with PyTorch (installs it once, apart, in .venv/torch)
	@$(TORCH)/bin/python -m pytest tests/test_against_pytorch.py $(ARGS)

bench: setup-torch ## time the library beside PyTorch   (ARGS="lstm-512 --repeats 9"; ARGS=--list)
	@$(TORCH)/bin/python -m benchmarks $(ARGS)

notebooks: runs/notebooks/ready ## open the notebooks of chapters 3 to 15 in Jupyter (installs it once, apart)
	@PYTHONPATH=$(CURDIR) OPENBLAS_NUM_THREADS=1 $(NOTEBOOKS)/bin/jupyter lab $(ARGS) runs/notebooks
# Copies to work in: what you write into one is kept until the notebook itself changes.
runs/notebooks/ready: $(wildcard book/notebooks/*.py) | $(NOTEBOOKS)/ready
	@$(NOTEBOOKS)/bin/jupytext --quiet --to ../../runs/notebooks//ipynb $?
	@touch $@

experiments: setup ## run every study of leakage and privacy, in seconds each, on one page   (ARGS="--data ../shared/data")
	@OPENBLAS_NUM_THREADS=1 $(PY) -m experiments all --quick $(ARGS)

check: lint types imports stubs  ## everything a reviewer would ask for before the tests
lint: setup-dev
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
types: setup-dev
	@.venv/bin/mypy
imports: setup-dev
	@.venv/bin/lint-imports
stubs: setup-dev
	@$(PY) proto/generate.py --check

setup: .venv/ready kernel   ## the programs' own packages, exactly as locked, and the kernel if there is a compiler
setup-dev: .venv/ready-dev kernel ## the same and the tools of the tests

KERNEL := core/secagg/kernel/ifma.so
kernel: $(KERNEL)
$(KERNEL): core/secagg/kernel/ifma.c core/secagg/kernel/build.py | .venv/ready
	@$(PY) -m core.secagg.kernel.build

bench-encryption: $(PEERS)/ready kernel ## time encrypted sums beside other libraries   (ARGS="--bits 3072")
	@$(PEERS)/bin/python -m benchmarks.encryption $(ARGS)

bench-spam: $(LEARN)/ready ## compare our spam filters with scikit-learn's   (DATA=folder of mail; ARGS="--splits 0 1 2")
	@OPENBLAS_NUM_THREADS=1 $(LEARN)/bin/python -m benchmarks.spam_filters $(if $(DATA),--data $(DATA)) $(ARGS)

# PyTorch has a place of its own: it is large, unlocked, and the other tests must not come to need it. From some package
# indexes it brings several gigabytes for graphics cards along; point pip at PyTorch's own index for a build without.
setup-torch: $(TORCH)/ready

# An environment of its own for a dependency group: $(call own-environment,where,group,lock file,what to say)
define own-environment
	@echo "setting up $(4) in $(1) (once) ..."
	@$(PY) -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(3)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check \
		$$($(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["$(2)"])')
	@touch $(1)/ready
endef

$(TORCH)/ready: pyproject.toml requirements-dev.lock .venv/bin/python
	$(call own-environment,$(TORCH),torch,requirements-dev.lock,PyTorch)

$(PEERS)/ready: pyproject.toml requirements.lock .venv/bin/python
	$(call own-environment,$(PEERS),peers,requirements.lock,other encryption libraries)

$(LEARN)/ready: pyproject.toml requirements.lock .venv/bin/python
	$(call own-environment,$(LEARN),learn,requirements.lock,scikit-learn)

$(NOTEBOOKS)/ready: pyproject.toml requirements.lock .venv/bin/python
	$(call own-environment,$(NOTEBOOKS),notebooks,requirements.lock,Jupyter)

.venv/bin/python:
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "grokfed needs Python 3.11 or newer; $(PYTHON3) is $$($(PYTHON3) -V 2>&1). Try: make PYTHON3=python3.12 ..."; exit 1; }
	@$(PYTHON3) -m venv .venv

.venv/ready: requirements.lock .venv/bin/python
	@echo "setting up .venv (once, about half a minute) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/ready-dev: requirements-dev.lock .venv/ready
	@echo "adding the tools of the tests (once) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

lock:            ## renew both lock files from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -c requirements.lock --group dev pyproject.toml -o requirements-dev.lock

clean:           ## remove what was installed and written
	rm -rf .venv runs
