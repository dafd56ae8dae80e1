# make demo    compile the digits network for an STM32 and prove it on an emulator
# make test    what CI runs: lint, types, tests
# make heavy   the tests that take minutes
# make fuzz    2,000 random networks and 2,000 damaged model files (hours); FUZZ=N for fewer
# make lint    ruff and mypy alone
# make bench   the benchmarks, beside the peers' figures
# make clean   remove what was built; make distclean removes the environment too
#
# Needed: make and Python 3.11 or newer with venv. Everything else comes from PyPI into $(VENV).

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
FUZZ ?= 2000

BIN := $(VENV)/bin
# An environment is up to date when it was installed from this very pyproject.toml, in this very folder.
HASH := $(firstword $(shell (pwd; cat pyproject.toml) | cksum))
EMULATE := $(VENV)/.installed-emulate-$(HASH)
TEST := $(VENV)/.installed-test-$(HASH)
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test heavy fuzz lint bench clean distclean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# make/make/p' Makefile

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dnncc needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12, for example")'
	$(PYTHON) -m venv $(VENV)

$(EMULATE): | $(BIN)/pip
	@echo "Installing dnncc, its compiler and its emulator into $(VENV) (some minutes, once)"
	@$(PIP) install --quiet --editable '.[emulate]'
	@rm -f $(VENV)/.installed-emulate-*
	@touch $@

$(TEST): | $(BIN)/pip
	@echo "Installing dnncc and its test tools into $(VENV) (some minutes, once)"
	@$(PIP) install --quiet --editable '.[emulate,test]'
	@rm -f $(VENV)/.installed-*
	@touch $(EMULATE) $@

demo: $(EMULATE)
	$(BIN)/dnncc compile examples/digits/digits.onnx --target stm32 --calibrate examples/digits/calibration.npz -o build/digits
	$(BIN)/dnncc validate build/digits --on emulator --data examples/digits/test.npz
	$(BIN)/dnncc bench build/digits --on emulator
	@echo
	@echo "The whole story, for a browser: $(CURDIR)/build/digits/report.html"

test: lint
	$(BIN)/python -m pytest -n $(JOBS)

heavy: $(TEST)
	$(BIN)/python -m pytest -n $(JOBS) -m heavy

fuzz: $(TEST)
	cd tests && $(CURDIR)/$(BIN)/python -m fuzz --count $(FUZZ) --jobs $(JOBS) --output $(CURDIR)/build/fuzz
	cd tests && $(CURDIR)/$(BIN)/python -m fuzz --damage --count $(FUZZ) --jobs $(JOBS) --output $(CURDIR)/build/fuzz

lint: $(TEST)
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python tests/typecheck.py

bench: $(TEST)
	$(BIN)/python -m benchmarks

clean:
	rm -rf build dist typings .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) dnncc.egg-info
