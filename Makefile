PYTHON ?= python3
BIN := .venv/bin
NOTEBOOK := S8_ResNet18

# containers often set this, and then each start of Python compiles all modules anew, for 6 s
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run full quick test gpu torture lint docs publish clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile

run: .venv/installed  ## execute the notebook (without a GPU: on the bundled sample) into runs/
	@echo "Executing $(NOTEBOOK).ipynb; on two CPU cores the bundled sample takes 2 to 15 minutes."
	@echo "A smaller network, for a shorter wait: S8_MODEL=CustomResNet make run"
	$(BIN)/python run_notebook.py
	@echo "See runs/$(NOTEBOOK).html. All 50,000 images, on whatever device there is: make full"

full: export S8_DATA := full
full: .venv/installed  ## execute the notebook on all 50,000 images, 20 epochs, on any device
	@echo "Executing $(NOTEBOOK).ipynb in full: minutes on a GPU, hours on a CPU."
	$(BIN)/python run_notebook.py

quick: export S8_DATA := full
quick: export S8_MODEL := CustomResNet
quick: .venv/installed  ## execute the notebook on all 50,000 images with a smaller network, 9 epochs
	@echo "Executing $(NOTEBOOK).ipynb with CustomResNet: 15 to 30 minutes on two CPU cores with"
	@echo "AVX512-BF16, and two hours or more without."
	$(BIN)/python run_notebook.py

# each file stays in one worker: its fixtures are made once, and the notebook has one kernel
test: .venv/installed lint  ## run all tests, the notebook on a CPU subset among them
	$(BIN)/python -m pytest -n 2 --dist loadfile --nbval-lax $(NOTEBOOK).ipynb tests

SEEDS ?= 1
gpu: .venv/installed  ## on a CUDA GPU: all tests, five benchmarks, SEEDS=1 whole runs; print a table
	$(BIN)/python benchmarks/gpu.py $(SEEDS)

torture: .venv/installed  ## kill runs, damage files, read hostile ones; print a table
	PYTHONPATH=tests $(BIN)/python -m torture

lint: .venv/installed  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed  ## write the page of all settings from the code
	$(BIN)/python docs/make_settings.py

publish:  ## OWNER=... REPOSITORY=...: publish the library's branch, put the Colab badge in
	$(PYTHON) publish.py "$(OWNER)" "$(REPOSITORY)" $(if $(LIBRARY),--library "$(LIBRARY)")

clean:  ## remove the environment and what was run, but not the data
	rm -rf .venv runs

# uv takes a fifth of pip's time; where it cannot be had or fails, pip installs the same pins. uv does
# not read pip's configuration, so the index that it names is handed over.
PINS := --quiet --requirement requirements-ci.txt --editable ./PyTorch_Vision

.venv/installed: requirements-ci.txt PyTorch_Vision/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	@echo "Installing the requirements (5 GB, most of it PyTorch for GPUs): half a minute by uv ..."
	@index=$${PIP_INDEX_URL:-$$($(BIN)/pip config get global.index-url 2>/dev/null)}; \
	if $(BIN)/pip install --quiet uv && \
		$(BIN)/uv pip install --python .venv $${index:+--default-index "$$index"} $(PINS); \
	then :; else echo "... or two minutes by pip, as uv cannot do it here:"; $(BIN)/pip install $(PINS); fi
	touch $@
