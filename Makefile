# From a fresh clone, with nothing but Python (3.10 or newer), make and the package index. Each job has an environment of its own.

PYTHON ?= python3
# What to search for: make demo QUERY="how do I reset my password?"
QUERY ?=
# More for pytest: make test ARGS="tests/house -x"
ARGS ?=
# A CPU build of torch, an oracle of some tests: its default build on Linux is gigabytes of CUDA, so this asks for the other by name.
TORCH ?= torch==2.13.0+cpu

PIP = -m pip --disable-pip-version-check --quiet

.PHONY: help demo test bench lint clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    compile a sentence encoder and search a text collection with it (QUERY="your question")'
	@echo 'make test    run the tests                                                   (ARGS="tests/house -x")'
	@echo 'make bench   compare with other runtimes on this machine                     (ARGS="model.onnx --vs onnxruntime")'
	@echo 'make lint    format, lint and type checks'
	@echo 'make clean   remove the environments'

demo: .venv/demo/.installed
	@.venv/demo/bin/tgen demo $(if $(QUERY),"$$QUERY")

test: .venv/test/.installed
	@.venv/test/bin/pytest -n auto --dist worksteal $(ARGS)

bench: .venv/bench/.installed
	@.venv/bench/bin/tgen bench $(ARGS)

# mypy sees the four folders as the one package they are when installed.
lint: .venv/lint/.installed
	@.venv/lint/bin/ruff format --check .
	@.venv/lint/bin/ruff check .
	@rm -rf .venv/tree && mkdir -p .venv/tree/tgen && ln -s $(CURDIR)/tgen/* $(CURDIR)/ir $(CURDIR)/targets $(CURDIR)/models .venv/tree/tgen/
	@cd .venv/tree && ../lint/bin/mypy --config-file ../../pyproject.toml

clean:
	rm -rf .venv build *.egg-info

export QUERY

# The stamp is the last thing made, so an installation that was broken off starts anew; the next call finds it and installs nothing.
.venv/%/.installed: pyproject.toml
	@echo 'installing into .venv/$* (once) …'
	@$(PYTHON) -m venv --clear .venv/$*
	@.venv/$*/bin/python $(PIP) install --editable '.[$*]'
	@$(if $(filter test,$*),.venv/$*/bin/python $(PIP) install '$(TORCH)' || echo 'no $(TORCH) to be had: tests that need torch will be skipped',:)
	@touch $@
