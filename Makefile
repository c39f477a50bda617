# The commands of the project. Each makes what it needs first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup setup-test run demo check test bench screenshots clean

help:
	@echo "make run         open the window"
	@echo "make demo        the whole loop without a window, on the starter model"
	@echo "make test        everything that must hold"
	@echo "make check       lint, types and layers only"
	@echo "make setup       the environment only: then .venv/bin/xeno is there"
	@echo "make bench       the benchmarks"
	@echo "make screenshots a picture of every tab, light and dark, in build/screenshots"

setup:
	@$(PYTHON) -m xeno.bootstrap

setup-test:
	@$(PYTHON) -m xeno.bootstrap --extra test

run: setup
	@$(BIN)/python main.py

demo: setup
	@$(BIN)/xeno demo

check: setup-test
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-logo > .venv/lint.log 2>&1 || (cat .venv/lint.log; exit 1)

test: check
	@tools/system_packages.sh
	@QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest -q -n 2 --dist loadfile

bench: setup-test
	@$(BIN)/xeno bench starter
	@$(BIN)/python benchmarks/chat_while_training.py
	@$(BIN)/python benchmarks/ui_stall.py

screenshots: setup
	@tools/system_packages.sh
	@$(BIN)/python tools/screenshots.py --out build/screenshots

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
