# `make simulate` and `make test` are all you need to try grokfed. The other targets are for changing the code.
PY      := .venv/bin/python
PYTHON3 ?= python3
TORCH   := .venv/torch
NOTEBOOKS := .venv/notebooks
PEERS   := .venv/peers
RAY     := .venv/ray
SIMULATORS := .venv/simulators
LEARN   := .venv/learn
KUBE    := .venv/kubernetes
DATA    ?=
# For the shell, whatever characters are in it: $(call quoted,text)
quoted   = '$(subst ','\'',$(1))'
ARGS    ?=

.PHONY: simulate dashboard test test-all test-ray setup-ray deploy-check setup-deploy-check test-learn experiments faults notebooks test-torch fuzz-torch bench bench-encryption bench-simulators bench-spam setup-torch kernel check lint types imports stubs house docs lock setup setup-dev containers clean help

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

simulate: setup  ## run a whole federation on this machine   (DATA=folder for real mail, ARGS="--rounds 10")
	@GROKFED_PARENT=$$PPID exec $(PY) -m simulation $(if $(DATA),--data $(call quoted,$(DATA))) $(ARGS)

dashboard: setup ## show runs on a page, while they run and afterwards, at http://127.0.0.1:8080   (ARGS="--runs folder --listen 127.0.0.1:8081")
	@exec $(PY) -m dashboard $(ARGS)

test: setup-dev  ## run the tests that need no containers and no long time
	@$(PY) -m pytest -n 2 -m "not containers and not slow" $(ARGS)

test-all: setup-dev ## run the long rest: fault scenarios, studies and chapters in their quick forms
	@$(PY) -m pytest -n 2 -m "slow" $(ARGS)

faults: setup-dev ## inject faults for about an hour and write the table of docs/reliability.md   (ARGS="--quick"; ARGS="lossy fuzz")
	@$(PY) -m faults $(ARGS)

containers: setup-dev ## run `docker compose up` and its failure tests for real
	@$(PY) -m pytest -m containers tests/test_compose.py

test-torch: setup-torch ## compare values, gradients and steps with PyTorch, also for 2,000 random programs (installs it once in .venv/torch)
	@$(TORCH)/bin/python -m pytest tests/test_torch_fuzz.py $(ARGS)

fuzz-torch: setup-torch ## compare 200,000 random programs with PyTorch, in about half an hour   (ARGS="--programs 5000 --seed 3")
	@OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(TORCH)/bin/python tests/test_torch_fuzz.py $(ARGS)

test-ray: setup-ray ## run virtual clients on a Ray cluster of two nodes on this machine (installs Ray once in .venv/ray)
	@$(RAY)/bin/python -m pytest tests/test_virtual_on_ray.py $(ARGS)

deploy-check: setup-deploy-check setup-dev ## validate the Kubernetes manifests of deploy/ against Kubernetes' schemas (installs kubernetes-validate once in .venv/kubernetes)
	@GROKFED_KUBERNETES_VALIDATE=$(KUBE)/bin/kubernetes-validate $(PY) -m pytest tests/test_deploy.py $(ARGS)

test-learn: $(LEARN)/ready ## run the example of a task with a model of scikit-learn (installs it once in .venv/learn)
	@$(LEARN)/bin/python -m pytest tests/test_own_task_examples.py $(ARGS)

bench: setup-torch ## time the library against PyTorch   (ARGS="lstm-512 --repeats 9"; ARGS=--list)
	@$(TORCH)/bin/python -m benchmarks $(ARGS)

notebooks: runs/notebooks/ready ## open the notebooks of chapters 3 to 15 in Jupyter (installs it once in .venv/notebooks)
	@PYTHONPATH=$(call quoted,$(CURDIR)) OPENBLAS_NUM_THREADS=1 $(NOTEBOOKS)/bin/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) runs/notebooks
# Working copies: your changes are kept until the notebook itself changes.
runs/notebooks/ready: $(wildcard book/notebooks/*.py) | $(NOTEBOOKS)/ready
	@$(NOTEBOOKS)/bin/jupytext --quiet --to ../../runs/notebooks//ipynb $?
	@touch $@

experiments: setup ## run every study of leakage and privacy, seconds each, results on one page   (ARGS="--data ../shared/data")
	@$(PY) -m experiments all --quick $(ARGS)

check: lint types imports stubs  ## lint, types, import contracts, up-to-date stubs
lint: setup-dev
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
types: setup-dev
	@.venv/bin/mypy
imports: setup-dev
	@.venv/bin/lint-imports
stubs: setup-dev
	@$(PY) proto/generate.py --check
house: setup-dev   ## draw docs/house.svg, which folder may import which, from the imports
	@$(PY) -m docs.house

docs: setup      ## rewrite docs/cli.md and the tables of settings in docs/operation.md from the code
	@$(PY) -m simulation.settings_tables && $(PY) -m docs.cli

setup: .venv/ready .venv/importable kernel   ## install the locked packages of the programs, and build the kernels if there is a compiler
setup-dev: .venv/ready-dev .venv/importable kernel ## the same, and the tools for tests and checks

KERNELS := $(addprefix core/secagg/kernel/,ifma.so avx2.so proofs.so)
kernel: $(KERNELS)
core/secagg/kernel/%.so: core/secagg/kernel/%.c core/secagg/kernel/lanes.h core/secagg/kernel/build.py | .venv/ready
	@$(PY) -m core.secagg.kernel.build $*

bench-encryption: $(PEERS)/ready kernel ## time encrypted sums against other libraries   (ARGS="--bits 3072")
	@$(PEERS)/bin/python -m benchmarks.encryption $(ARGS)

bench-simulators: setup $(SIMULATORS)/ready ## time virtual clients beside pfl, Flower and Ray (installs them once in .venv/simulators)
	@$(PY) -m benchmarks.simulators $(ARGS)

bench-spam: $(LEARN)/ready ## compare our spam filters with scikit-learn's   (DATA=folder of mail; ARGS="--splits 0 1 2")
	@OPENBLAS_NUM_THREADS=1 $(LEARN)/bin/python -m benchmarks.spam_filters $(if $(DATA),--data $(DATA)) $(ARGS)

# PyTorch has a separate environment: it is large and not locked, and the other tests must not depend on it. Some package
# indexes serve builds with several gigabytes of GPU libraries; point pip at PyTorch's own index for a CPU build.
setup-torch: $(TORCH)/ready
setup-ray: $(RAY)/ready
setup-deploy-check: $(KUBE)/ready

# The packages of a dependency group: $(call group,name)
group = $$($(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["$(1)"])')

# A separate environment for a dependency group: $(call own-environment,folder,group,lock file,name to print)
define own-environment
	@echo "setting up $(4) in $(1) (once) ..."
	@$(PY) -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(3)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(call group,$(2))
	@touch $(1)/ready
endef

$(TORCH)/ready: pyproject.toml requirements-dev.lock .venv/bin/python
	$(call own-environment,$(TORCH),torch,requirements-dev.lock,PyTorch)

$(PEERS)/ready: pyproject.toml requirements.lock .venv/bin/python
	$(call own-environment,$(PEERS),peers,requirements.lock,other encryption libraries)

$(RAY)/ready: pyproject.toml requirements-dev.lock .venv/bin/python
	$(call own-environment,$(RAY),ray,requirements-dev.lock,Ray)

# Only other programs run here, so they need none of the project's packages, which would not go with theirs.
define environment-of-others
	@echo "setting up $(3) in $(1) (once) ..."
	@$(PY) -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(call group,$(2))
	@touch $(1)/ready
endef

$(KUBE)/ready: pyproject.toml .venv/bin/python
	$(call environment-of-others,$(KUBE),kubernetes,kubernetes-validate)

$(SIMULATORS)/ready: pyproject.toml .venv/bin/python
	$(call environment-of-others,$(SIMULATORS),simulators,other simulators)

$(LEARN)/ready: pyproject.toml requirements-dev.lock .venv/bin/python
	$(call own-environment,$(LEARN),learn,requirements-dev.lock,scikit-learn)

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
	@echo "adding the tools for tests and checks (once) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# With .venv's Python, a script in any folder can import the packages: this folder is looked in last, so what lies beside
# the script comes first. The path is relative, and stays right when the clone is moved.
.venv/importable: .venv/bin/python
	@$(PY) -c 'import os, sys, sysconfig as s; lib = s.get_path("purelib"); print(os.path.relpath(os.path.dirname(sys.prefix), lib), file=open(os.path.join(lib, "grokfed.pth"), "w"))'
	@touch $@

lock:            ## update both lock files from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -c requirements.lock --group dev pyproject.toml -o requirements-dev.lock

clean:           ## remove .venv and runs
	rm -rf .venv runs
