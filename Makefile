# The two commands of the README, and what they share. Needs make and a Python from 3.8 to 3.13;
# scripts/stack.py chooses what goes into .venv, WORLD=paddle2|paddle3|cpu overrides it.
PYTHON = .venv/bin/python

.PHONY: demo test test-gpu test-matrix lint docs env clean

demo: env
	$(PYTHON) examples/demo.py

test: env lint
	$(PYTHON) -m pytest -n 2 --dist loadfile

test-gpu:
	@sh scripts/make_env.sh --gpu
	$(PYTHON) -m rifle_ext doctor
	$(PYTHON) -m pytest -m gpu
	$(PYTHON) -m benchmarks.cost gpu

test-matrix:
	python3 scripts/test_matrix.py --jobs 2

lint: env
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs: env
	$(PYTHON) -m mkdocs build --strict
	$(PYTHON) -m mkdocs build --strict -f mkdocs.zh.yml

env:
	@sh scripts/make_env.sh

clean:
	rm -rf .venv .matrix .toolkits data output build dist site *.egg-info
