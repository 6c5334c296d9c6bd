# The two commands of the README, and what they share. Needs python3 (3.8 to 3.11) and make.
PYTHON = .venv/bin/python

.PHONY: demo test test-gpu test-matrix lint docs env clean

demo: env
	$(PYTHON) examples/demo.py

test: env lint
	$(PYTHON) -m pytest -n 2 --dist loadfile

test-gpu:
	python3 scripts/check_gpu.py
	@sh scripts/make_env.sh
	$(PYTHON) -m rifle_ext doctor
	$(PYTHON) -m pytest -m gpu
	$(PYTHON) -m benchmarks.cost gpu

test-matrix:
	python3 scripts/test_matrix.py --write

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
	rm -rf .venv .matrix data output build dist site *.egg-info
