# make demo: set up and score the embedded model. make test, make lint: what CI runs.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
RUN ?= runs/demo

.PHONY: demo test lint setup

setup: $(VENV)/.installed

# torch first and alone: pinned, it is the CPU build where one is offered, and nothing else then pulls a larger one.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	mkdir -p .build && ln -sfn .. .build/unmask
	touch $@

demo: setup
	$(BIN)/unmask eval --model demo --task arith --limit 200 --samples 2 --out $(RUN)/arith
	$(BIN)/unmask eval --model demo --task gsm8k --limit 20 --set decode.max_new_tokens=256 --out $(RUN)/gsm8k

test: setup
	$(BIN)/python -m pytest -m "not slow and not gpu" -q

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.build $(BIN)/mypy -p unmask
