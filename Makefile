# The two commands of the README, and what they share. Needs python3 (3.8 to 3.11) and make.
PYTHON = .venv/bin/python

.PHONY: demo test lint docs env clean

demo: env
	$(PYTHON) examples/demo.py

test: env lint
	$(PYTHON) -m pytest

lint: env
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs: env
	$(PYTHON) -m mkdocs build --strict

env:
	@sh scripts/make_env.sh

clean:
	rm -rf .venv data output build dist site *.egg-info
