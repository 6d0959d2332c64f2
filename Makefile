# Two commands on a fresh machine: `make run` and `make test`; `make test-slow` is the rest of the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run test test-slow conf lint commands bench bundle docs evidence requirements sbom audit clean

# Python compiles what it imports, once: with this variable, which some images set, it would do so
# at every start.
unexport PYTHONDONTWRITEBYTECODE

# Only a change of what is to be installed sets up again.
$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e .
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e '.[test]'
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	touch $@

run: $(VENV)/.run
	$(BIN)/qsynth run +recipe=digits_mesh

# Workers are processes, one a core: threads of each would wait for one another.
test test-slow: export OMP_NUM_THREADS := 1
test test-slow: export OPENBLAS_NUM_THREADS := 1

# The quick loop; it names what it leaves out, which `make test-slow` runs.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

# They wait for processes and sockets much of the time: more workers than cores.
test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -n 4 --dist worksteal -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy qsynth

# conf/GROUP/OPTION.yaml, from the options' classes.
conf: $(VENV)/.run
	$(BIN)/python -m qsynth.config.yaml_files

# Every command of the docs, the long comparisons too, each with little work.
commands: $(VENV)/.test
	QSYNTH_ALL_COMMANDS=1 $(BIN)/python -m pytest -n 2 tests/test_docs_run.py

bench: $(VENV)/.test
	$(BIN)/python tests/benchmarks/kernels.py

# All that a host of this kind needs, for `pip install --no-index --find-links dist/bundle`.
bundle: $(VENV)/.run
	$(BIN)/pip wheel --quiet -c constraints.txt --wheel-dir dist/bundle '.[table,vision,privacy,metrics]'

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict

# Hours of work the first time: it says so beforehand, and goes on where it was interrupted.
evidence: $(VENV)/.test
	$(BIN)/python tests/benchmarks/evidence.py --write $(if $(QSYNTH_DATA_DIR),--data $(QSYNTH_DATA_DIR))
	$(BIN)/python tests/benchmarks/choices.py --write $(if $(QSYNTH_DATA_DIR),--data $(QSYNTH_DATA_DIR))

# The supply chain, by tools in an environment of their own.
TOOLS := $(VENV)-supply/bin
$(TOOLS)/.made:
	$(PYTHON) -m venv $(VENV)-supply
	$(TOOLS)/pip install --quiet --no-compile uv cyclonedx-bom pip-audit
	touch $@

# Versions of constraints.txt with the hashes of every file that the index has of them.
requirements: $(TOOLS)/.made
	head -n 2 requirements.txt > requirements.new
	$(TOOLS)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header -c constraints.txt --quiet >> requirements.new
	mv requirements.new requirements.txt

# What a release is made of, as CycloneDX.
sbom: $(TOOLS)/.made
	$(TOOLS)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml -o sbom.json

# Known holes in what is installed.
audit: $(TOOLS)/.made
	$(TOOLS)/pip-audit -r requirements.txt --disable-pip --no-deps

clean:
	rm -rf $(VENV) $(VENV)-supply build dist sbom.json .pytest_cache .mypy_cache .ruff_cache
