# Each target makes .venv by itself, from requirements.lock; it is made again only when the lock or the project changes.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test check lock

demo: $(INSTALLED)
	$(BIN)/stepmark demo

test: $(INSTALLED)
	$(BIN)/pytest

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("stepmark needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --requirement requirements.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	touch $@

# The newest versions that fit together and go with torch's, which is chosen by hand in the lock. Whether a machine gets
# torch's CPU or CUDA build is its own affair: the lock has neither a build's mark (+cpu) nor what torch itself pins.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	grep '^torch==' requirements.lock > .venv-lock/torch
	.venv-lock/bin/python -m pip install --upgrade pip
	.venv-lock/bin/python -m pip install --group dev --editable . --constraint .venv-lock/torch
	grep '^#' requirements.lock > .venv-lock/lock
	.venv-lock/bin/python -m pip freeze --exclude-editable | sed -E '/^(nvidia-|cuda-|triton|setuptools)/d; s/\+[a-z0-9.]+$$//' >> .venv-lock/lock
	mv .venv-lock/lock requirements.lock
	rm -rf .venv-lock
