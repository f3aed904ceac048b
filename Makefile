# make demo   sets up everything and runs the main job on the bundled data
# make test   sets up everything and passes the tests, offline, in an order drawn anew: SEED=... repeats one,
#             COVERAGE=1 counts lines and fails where fewer are run than pyproject.toml asks for
# make test-matrix  the builder's tests on the oldest supported datasets, on 4.0 and on the newest, where that is newer
#             than what constraints.txt names, which `make test` has
# make test-train  trains tiny models with TRL, and loads with real worker processes (some minutes)
# make test-handoffs  other trainers' own parsers read what exports carry for them, each in an environment of its own (6 GB)
# make test-packages  the wheel in bare environments of every Python here, how programs end there, and the tests that the
#             sdist carries
# make test-browser  looks at the pages of `coigp view` and `coigp review serve` with the system's chromium (asked of
#             apt where there is none), and runs the notebooks of docs/
# make test-review  a review goes through a live Label Studio and back; it is skipped, and says why, where pip has none
# make docs   builds the site from docs/ into build/site, in an environment of its own, and checks every link
# make setup  the environments of all these but handoffs and review, beforehand: `make -j 2 setup` makes two at a time
# make check  lint, layers and types        make bench  the benchmarks        make clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
DEVELOP := .venv/.develop

.PHONY: setup demo test test-matrix test-train test-handoffs test-browser test-review test-packages check format docs bench clean

demo: $(INSTALLED)
	@$(BIN)/coigp demo --out build/demo --overwrite
	@rm -rf build/tap && $(BIN)/coigp annotate demo --recipe tap --out build/tap

SEED := $(or $(SEED),$(shell date +%s))

# COVERAGE=1 counts lines, in subprocesses too; fail_under in pyproject.toml is the figure they may not fall below.
# Bytecode is kept whatever the environment says, or every process would compile the package anew. Files are begun in
# the order that tests/conftest.py gives.
test: $(DEVELOP)
	PYTHONDONTWRITEBYTECODE= HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
	  --randomly-seed=$(SEED) \
	  $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

MATRIX := $(basename $(notdir $(wildcard tests/matrix/*.txt)))

# Of what `make test` has, constraints.txt tells.
VERSIONS := grep -E '^(datasets|huggingface.hub|pyarrow|numpy)==' | tr _ - | sort | tr '\n' ' '

# Views rely on datasets' own parts.
# Old versions warn about newer ones of each other; that is not ours to fix, so -W default.
test-matrix: $(MATRIX:%=.matrix/%/.installed)
	@given="$$(cat constraints.txt | $(VERSIONS))"; for name in $(MATRIX); do \
	  found="$$(.matrix/$$name/bin/python -m pip freeze | $(VERSIONS))"; \
	  if [ "$$found" = "$$given" ]; then echo "$$name: $$found, as in constraints.txt: make test tries it"; continue; fi; \
	  echo "$$name: $$found"; \
	  PYTHONDONTWRITEBYTECODE= HF_HUB_OFFLINE=1 .matrix/$$name/bin/python -m pytest -q -p no:cacheprovider -W default \
	    -n 2 --dist loadfile --no-loadscope-reorder \
	    tests/test_builder.py tests/test_call.py tests/test_configs.py tests/test_hub.py tests/test_mirrors.py \
	    tests/test_registration.py \
	    tests/pairs/test_streams.py tests/pairs/test_splits.py tests/pairs/test_weights.py tests/pairs/test_plan.py \
	    tests/pairs/test_exit.py tests/pairs/test_epochs.py tests/pairs/test_resuming.py tests/pairs/test_counting.py \
	    tests/store/test_damage.py tests/ingest/test_cases.py tests/views || exit 1; \
	done

# Trainers warn about versions of each other, so -W default. The files are named, since `make test` must not find them.
test-train: .train-venv/.installed
	@PYTHONDONTWRITEBYTECODE= HF_HUB_OFFLINE=1 PYTHONPATH=tests:tests/annotate \
	  .train-venv/bin/python -m pytest -q -p no:cacheprovider -W default --confcutdir tests \
	  tests/train/trainers.py tests/train/loaders.py tests/train/serve.py tests/train/scorers.py tests/train/score.py \
	  tests/train/judging.py tests/train/rewards.py tests/train/resuming.py tests/train/recipes.py

HANDOFFS := $(basename $(notdir $(wildcard tests/train/handoffs/*.txt)))

# Where a tool cannot be installed its tests are skipped, and say so.
test-handoffs: $(DEVELOP)
	@for tool in $(HANDOFFS); do $(MAKE) --no-print-directory .handoffs/$$tool/.installed || echo "no $$tool here: skipped"; done
	@PYTHONDONTWRITEBYTECODE= HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -rs -p no:cacheprovider -W default \
	  --confcutdir tests tests/train/handoffs.py

# The tool itself, named in the first line, comes without its dependencies: parsers need few of them, and no GPU.
.handoffs/%/.installed: tests/train/handoffs/%.txt
	@echo "Setting up .handoffs/$* (once) ..."
	@$(PYTHON) -m venv --clear .handoffs/$*
	@.handoffs/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@.handoffs/$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $$(sed -n '1s/^# //p' $<)
	@touch $@

.train-venv/.installed: tests/train/requirements.txt pyproject.toml
	@echo "Setting up .train-venv (once) ..."
	@$(PYTHON) -m venv --clear .train-venv
	@.train-venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r $< -e '.[train,annotate]' \
	  'pytest>=8.3' 'hypothesis>=6.100'
	@touch $@

# Where apt cannot install a chromium every test is skipped, and says so.
test-browser: .browser-venv/.installed
	@command -v chromium chromium-browser google-chrome >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; } \
	  >/dev/null 2>&1 || echo "no chromium, and apt could not install one: skipped"
	@HF_HUB_OFFLINE=1 PYTHONPATH=tests:tests/browser:tests/review .browser-venv/bin/python -m pytest -q -rs -p no:cacheprovider \
	  --confcutdir tests tests/browser/pages.py tests/browser/reviews.py
	@HF_HUB_OFFLINE=1 .browser-venv/bin/python -m pytest -q -p no:cacheprovider -W default --nbmake docs/notebooks

.browser-venv/.installed: tests/browser/requirements.txt pyproject.toml
	@echo "Setting up .browser-venv (once) ..."
	@$(PYTHON) -m venv --clear .browser-venv
	@.browser-venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r $< -e '.[view]' \
	  'pytest>=8.3' 'hypothesis>=6.100'
	@touch $@

# Label Studio has an environment of its own, since it pins what this package also needs; its first start makes a
# database, which takes minutes.
test-review: $(DEVELOP)
	@$(MAKE) --no-print-directory .review-venv/.installed 2>/dev/null || echo "no Label Studio here: skipped"
	@if test -e .review-venv/.installed; then export COIGP_LABEL_STUDIO="$$PWD/.review-venv/bin/label-studio"; \
	  else export COIGP_WHY_NOT="$$(tail -n 1 .review-venv/why 2>/dev/null)"; fi; \
	  HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -rs -p no:cacheprovider tests/review/live.py

.review-venv/.installed: tests/review/requirements.txt
	@echo "Setting up .review-venv (once, some minutes) ..."
	@$(PYTHON) -m venv --clear .review-venv
	@.review-venv/bin/python -m pip install --quiet --disable-pip-version-check -r $< 2>.review-venv/why
	@touch $@

.matrix/%/.installed: tests/matrix/%.txt pyproject.toml
	@echo "Setting up .matrix/$* (once) ..."
	@$(PYTHON) -m venv --clear .matrix/$*
	@.matrix/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $< -e . 'pytest>=8.3' 'pytest-xdist>=3.7' \
	  'hypothesis>=6.100'
	@touch $@

# Heavy: an environment for each Python.
test-packages: $(DEVELOP)
	@tests/packages.sh $(BIN)/python

check: $(DEVELOP)
	$(BIN)/ruff check coig_p tests benchmarks docs
	$(BIN)/ruff format --check coig_p tests benchmarks docs
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini $$(find tests -name '*.py' -not -path 'tests/publish/*')
	$(BIN)/mypy --config-file tests/mypy.ini tests/publish

format: $(DEVELOP)
	$(BIN)/ruff check --fix coig_p tests benchmarks docs
	$(BIN)/ruff format coig_p tests benchmarks docs

# Needs no network once .docs-venv is there.
docs: .docs-venv/.installed
	@NO_MKDOCS_2_WARNING=1 .docs-venv/bin/python -m mkdocs build --quiet --strict
	@echo "The site is in build/site; open build/site/index.html"

.docs-venv/.installed: pyproject.toml constraints.txt
	@echo "Setting up .docs-venv (once) ..."
	@$(PYTHON) -m venv --clear .docs-venv
	@.docs-venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

bench: $(DEVELOP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/pairs.py
	$(BIN)/python benchmarks/many_files.py
	$(BIN)/python benchmarks/rationales.py
	$(BIN)/python benchmarks/imports.py
	$(BIN)/python benchmarks/checks.py
	$(BIN)/python benchmarks/dedup.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/streaming.py
	$(BIN)/python benchmarks/annotate.py
	$(BIN)/python benchmarks/annotate_kills.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/view.py
	$(BIN)/python benchmarks/floor.py
	$(BIN)/python benchmarks/compare.py

# constraints.txt pins what the tests ran with; it names no host, so any package index will do.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "Setting up .venv (once, about a minute) ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[annotate,tap]'
	@$(BIN)/python -m compileall -q coig_p  # as pip does with what it copies: else, where bytecode is not kept, every start does
	@touch $@

$(DEVELOP): $(INSTALLED)
	@echo "Installing what tests and benchmarks need (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# pip mostly unpacks and compiles, on one core.
setup: $(DEVELOP) .docs-venv/.installed .train-venv/.installed .browser-venv/.installed $(MATRIX:%=.matrix/%/.installed)

clean:
	rm -rf .coverage* .venv .matrix .train-venv .handoffs .docs-venv .browser-venv .review-venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
