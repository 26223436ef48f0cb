# Two commands do all the set-up: `make search` and `make test` create the environment, install into it, and run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What the user adds to a search: make search ARGS="--config.limits.max_params_m=6"
ARGS ?=
# Tests compile on one core at a time: a process for each core, up to four, each with whole files
# (tests/conftest.py).
PARALLEL ?= --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: search adapt test test-full lint docs benchmarks clean

# uv installs in seconds what takes pip minutes. Where it can't (a mirror that only pip knows of), pip
# does. The files are complete, so nothing is installed that they don't name.
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
define install
@if [ -x $(BIN)/uv ] && $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps $(1); \
then :; else $(PIP) --no-deps $(1); fi
endef

# Python's own compiled files of what every command imports. Where the environment says
# PYTHONDONTWRITEBYTECODE (containers do), they would be made anew at each start: 3 seconds.
IMPORTED = jax, jax.nn, flax.linen, optax, orbax.checkpoint, optuna, scipy.stats, sklearn.linear_model
IMPORTED += , grain, rich.progress, PIL.Image, matplotlib.pyplot, ml_collections.config_flags
define compile_imports
@PYTHONDONTWRITEBYTECODE= $(BIN)/python -c "import $(IMPORTED)"
@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -q vintk_jax
endef

$(VENV)/.installed: requirements.txt pyproject.toml
	@echo "Installing into $(VENV): less than a minute, but for the downloads."
	$(PYTHON) -m venv $(VENV)
	@$(PIP) uv==0.13.9 || echo "uv can't be installed; pip takes its place."
	$(call install,--requirement requirements.txt)
	$(call install,--editable .)
	$(compile_imports)
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt requirements-onnx.txt requirements-serve.txt
	$(call install,--requirement requirements-test.txt --requirement requirements-onnx.txt --requirement requirements-serve.txt)
	@touch $@

# PyTorch, timm and transformers, which weights are compared with. By pip, which takes the build of
# torch for CPUs; timm without what it requires: there is no torchvision for CPUs.
$(VENV)/.installed-peers: $(VENV)/.installed-test requirements-peers.txt
	$(PIP) --requirement requirements-peers.txt
	$(PIP) --no-deps timm==1.0.31
	@touch $@

search: $(VENV)/.installed
	$(BIN)/python -m vintk_jax.search --config configs/vit_space.py $(ARGS)

adapt: $(VENV)/.installed
	$(BIN)/python -m vintk_jax.adapt $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -m "not slow" $(PARALLEL) $(ARGS)

test-full: $(VENV)/.installed-peers
	$(BIN)/python -m pytest -q -m "slow or peers" $(PARALLEL) $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The site, in site/: the pages of docs/ and every module's docstrings (mkdocs.yml). A link or anchor
# that leads nowhere is an error.
docs: $(VENV)/.installed requirements-docs.txt
	$(call install,--requirement requirements-docs.txt)
	$(BIN)/zensical build --clean --strict
	@echo "To read it, with search: $(BIN)/python -m http.server --directory site"

benchmarks: $(VENV)/.installed
	$(PIP) torch==2.13.0
	$(BIN)/python -m benchmarks.ntk_speed
	$(BIN)/python -m benchmarks.search_speed

clean:
	rm -rf $(VENV) runs site .cache
