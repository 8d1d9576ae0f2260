# Everything a newcomer needs: `make demo`, `make test`. Each makes .venv by itself and needs Python 3.11+, make and a package index.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ITEMS ?=

.PHONY: demo test check docs bench soak pins format clean

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	awk '/^uv==/{on=1; print; next} on && /^    /{print; next} {on=0}' requirements/dev.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps -e .
	touch $@

demo: $(STAMP)  ## see it work, in this terminal; ITEMS=500 ends by itself and compares
	$(BIN)/python -m reactor demo $(if $(ITEMS),--items $(ITEMS)) $(ARGS)

test: $(STAMP)  ## the whole suite on an embedded PostgreSQL; pure parts at 100 % branch coverage
	$(BIN)/coverage run -m pytest -m 'not soak' $(ARGS)
	$(BIN)/coverage report

check: $(STAMP)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)  ## make the reference in docs/ again from the code
	$(BIN)/python -m tests.reference

bench: $(STAMP)  ## figures; see docs/benchmarks.md
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP)  ## the long runs
	$(BIN)/python -m pytest -m soak $(ARGS)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pins: $(STAMP)  ## renew the pinned requirements
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --upgrade pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --upgrade --all-extras pyproject.toml -o requirements/dev.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage dist
