# make demo   sets up everything and runs the main job on the bundled data
# make test   sets up everything and passes the tests, offline
# make test-matrix  the builder's tests on the oldest supported datasets, on 4.0 and on the newest
# make test-train  trains tiny models with TRL, and loads with real worker processes (some minutes)
# make check  lint and types        make bench  the benchmarks        make clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
DEVELOP := .venv/.develop

.PHONY: demo test test-matrix test-train check format bench clean

demo: $(INSTALLED)
	@$(BIN)/coigp demo --out build/demo --overwrite

test: $(DEVELOP)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

MATRIX := $(basename $(notdir $(wildcard tests/matrix/*.txt)))

# Old versions warn about newer ones of each other; that is not ours to fix, so -W default.
test-matrix: $(MATRIX:%=.matrix/%/.installed)
	@for name in $(MATRIX); do \
	  echo "$$name: $$(.matrix/$$name/bin/python -m pip freeze | grep -E '^(datasets|huggingface.hub|pyarrow|numpy)==' | tr '\n' ' ')"; \
	  HF_HUB_OFFLINE=1 .matrix/$$name/bin/python -m pytest -q -p no:cacheprovider -W default \
	    tests/test_builder.py tests/test_hub.py tests/test_registration.py tests/pairs/test_streams.py || exit 1; \
	done

# Trainers warn about versions of each other, so -W default. The files are named, since `make test` must not find them.
test-train: .train-venv/.installed
	@HF_HUB_OFFLINE=1 PYTHONPATH=tests:tests/annotate .train-venv/bin/python -m pytest -q -p no:cacheprovider -W default \
	  --confcutdir tests tests/train/trainers.py tests/train/loaders.py tests/train/serve.py

.train-venv/.installed: tests/train/requirements.txt pyproject.toml
	@echo "Setting up .train-venv (once) ..."
	@$(PYTHON) -m venv --clear .train-venv
	@.train-venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r $< -e '.[train,annotate]' \
	  'pytest>=8.3' 'hypothesis>=6.100'
	@touch $@

.matrix/%/.installed: tests/matrix/%.txt pyproject.toml
	@echo "Setting up .matrix/$* (once) ..."
	@$(PYTHON) -m venv --clear .matrix/$*
	@.matrix/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $< -e . 'pytest>=8.3' 'hypothesis>=6.100'
	@touch $@

check: $(DEVELOP)
	$(BIN)/ruff check coig_p tests benchmarks docs
	$(BIN)/ruff format --check coig_p tests benchmarks docs
	$(BIN)/mypy

format: $(DEVELOP)
	$(BIN)/ruff check --fix coig_p tests benchmarks docs
	$(BIN)/ruff format coig_p tests benchmarks docs

bench: $(DEVELOP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/pairs.py
	$(BIN)/python benchmarks/imports.py
	$(BIN)/python benchmarks/checks.py
	$(BIN)/python benchmarks/dedup.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/streaming.py
	$(BIN)/python benchmarks/annotate.py
	$(BIN)/python benchmarks/annotate_kills.py
	$(BIN)/python benchmarks/startup.py

# constraints.txt pins what the tests ran with; it names no host, so any package index will do.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "Setting up .venv (once, about a minute) ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[annotate]'
	@touch $@

$(DEVELOP): $(INSTALLED)
	@echo "Installing what tests and benchmarks need (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .matrix .train-venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
