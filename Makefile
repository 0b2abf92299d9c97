# make run     set up what is missing, then run the whole line on a private Postfix and a private internet
# make test    set up what is missing, then run every test
# make check   format, lint, types, floors
# make lock    pin the dependencies anew after a change in pyproject.toml

PYTHON := .venv/bin/python
# Postfix and network namespaces need root; where we are not root, sudo asks for it.
ROOT := $(shell [ "$$(id -u)" -eq 0 ] || echo "sudo --preserve-env=LANG,LC_ALL,CI")

.PHONY: run test unit integration check setup lock clean

setup:
	@scripts/setup

run: setup
	@$(ROOT) $(PYTHON) -m lab.run $(ARGS)

test: setup
	@$(ROOT) $(PYTHON) -m pytest tests $(ARGS)
	@$(ROOT) $(PYTHON) -m integration $(ARGS)

unit: setup
	@$(PYTHON) -m pytest tests --ignore=tests/lab $(ARGS)

integration: setup
	@$(ROOT) $(PYTHON) -m integration $(ARGS)

check: setup
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest tests/test_floors.py -p no:cacheprovider

lock: setup
	@$(PYTHON) -m piptools compile -q --generate-hashes --strip-extras --allow-unsafe --all-extras --all-build-deps \
	    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-annotate --no-header \
	    -o requirements.lock pyproject.toml

clean:
	rm -rf state .venv
