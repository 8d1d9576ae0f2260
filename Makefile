# Everything a newcomer needs: `make demo`, `make test`. Each makes .venv by itself and needs Python 3.11 to 3.13, make and
# a package index. Another Python than that of .venv, such as PYTHON=python3.13, makes .venv anew.
PYTHON ?= $(shell test -x .venv/bin/python && echo .venv/bin/python || echo python3)
BIN := .venv/bin
STAMP := .venv/.installed
TOOLS := .venv/.tools
ITEMS ?=

# Images of Python often keep it from writing byte code. Without any, each worker and each process that a test starts
# compiles all that it imports anew: that makes two thirds of a worker's start, and half of a command's.
unexport PYTHONDONTWRITEBYTECODE

# The tests that show every branch of what is pure. No other is traced: tracing takes three times what a test does. What
# is drawn by lot or simulated at length among them is not either (the mark no_cover).
PURE := tests/core tests/drift tests/google/test_batch.py tests/app/test_token_encryption.py
# What is pure, what stands next to it, and needs neither a server nor a process: rules, loop, judge, client, a few simulated
# histories, and what holds the pages together.
QUICK := tests/core tests/loop tests/drift tests/docs tests/google \
	tests/simulator/test_simulator.py::test_a_fault_that_is_put_back_is_found_soon
# Files with tests that want the machine for themselves.
ALONE = $(shell grep -rl --include=*.py 'mark\.alone' tests)

.PHONY: demo test quick check docs bench soak pins format clean
ifneq ($(shell $(PYTHON) -V), $(shell $(BIN)/python -V 2> /dev/null))
.PHONY: $(STAMP)
endif

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	test "$$($(BIN)/python -V 2> /dev/null)" = "$$($(PYTHON) -V)" || $(PYTHON) -m venv --clear .venv
	awk '/^uv==/{on=1; print; next} on && /^    /{print; next} {on=0}' requirements/dev.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps -e .
	touch $@

demo: $(STAMP)  ## see it work, in this terminal; ITEMS=500 ends by itself and compares
	$(BIN)/python -m reactor demo $(if $(ITEMS),--items $(ITEMS)) $(ARGS)

test: $(STAMP) $(TOOLS)  ## the whole suite on an embedded PostgreSQL; pure parts at 100 % branch coverage
	$(BIN)/python -m pytest $(PURE) --cov -m "not soak" -n 2 --dist worksteal $(ARGS)
	$(BIN)/python -m pytest -m "not soak and not alone" -n 5 --dist loadfile --no-loadscope-reorder $(PURE:%=--ignore=%) $(ARGS)
	$(BIN)/python -m pytest -m "alone and not soak" $(ALONE) $(ARGS)

quick: $(STAMP)  ## what needs no server
	$(BIN)/python -m pytest $(QUICK) --ignore=tests/google/test_commit_then_drop.py -m "not soak and not alone" \
		-n 2 --dist worksteal $(ARGS)

# What `checks` calls, apart from .venv: checkov pins a hundred packages of its own. promtool comes from Debian's archive.
$(TOOLS): $(STAMP) requirements/manifests.txt .ci/tools
	test -x .venv/manifests/bin/python || $(BIN)/python -m venv .venv/manifests
	$(BIN)/uv pip sync --quiet --python .venv/manifests/bin/python --require-hashes requirements/manifests.txt
	.ci/tools .venv/tools
	touch $@

check: $(STAMP) $(TOOLS)  ## format, lint, types, import contracts, manifests, alerts; no network once it is set up
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m checks

docs: $(STAMP)  ## make the reference in docs/ again from the code
	$(BIN)/python -m tools.reference

bench: $(STAMP)  ## figures; see docs/benchmarks.md
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP)  ## the long runs
	$(BIN)/python -m pytest -m soak $(ARGS)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pins: $(STAMP)  ## renew the pinned requirements
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --upgrade --extra console pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --upgrade --all-extras pyproject.toml -o requirements/dev.txt
	for group in build manifests; do $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
		--no-annotate --python-version 3.11 --no-emit-index-url --no-emit-find-links --upgrade --group $$group \
		-o requirements/$$group.txt; done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage dist
