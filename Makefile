# Everything a person or a script needs. `make demo` and `make test` are the two that matter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo test check format bench-serving bench-paper bench-learner bench-replay soak check-deploy clean
help:
	@echo "make demo            start everything, play the digits task over HTTP, print the result"
	@echo "make test            install what the tests need and run them"
	@echo "make check           format, lint, import contracts, types"
	@echo "make check-deploy    alerts, dashboard, runbooks and hooks in deploy/, with promtool"
	@echo "make bench-serving   server CPU per request against the floor and the peers"
	@echo "make bench-paper     the paper's benchmarks; hours for all of them, ARGS=\"--only NAME --seeds N\" for one"
	@echo "make bench-learner   updates a second beside stable-baselines3, tianshou, torchrl and a bare loop"
	@echo "make bench-replay    sampling, bytes for each transition, and the way from Redis to the replay"
	@echo "make soak            200,000 decisions against a small Redis: memory stays flat"

$(INSTALLED): pyproject.toml clients/python/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e clients/python -e ".[embedded,demo,dev]"
	touch $(INSTALLED)

install: $(INSTALLED)

demo: install
	$(BIN)/nacre demo $(ARGS)

# Real processes are killed in tests/e2e, so those have the machine to themselves.
test: install check
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/e2e $(ARGS)
	$(BIN)/python -m pytest tests/e2e $(ARGS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy agent_core service clients/python/src tests benchmarks

# promtool comes from Debian's package, unpacked; without it these tests fail here and are skipped in `make test`.
check-deploy: install
	deploy/prometheus/get_promtool.sh $(BIN)
	NACRE_CI=1 $(BIN)/python -m pytest tests/deploy --ignore tests/deploy/test_containers.py $(ARGS)

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-serving: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks.serving $(ARGS)

bench-paper: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.paper $(ARGS)

bench-learner: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/learner/requirements.txt
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.learner $(ARGS)

bench-replay: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/learner/requirements.txt
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.replay $(ARGS)

soak: install
	$(BIN)/python -m benchmarks.soak $(ARGS)

clean:
	rm -rf $(VENV) .nacre .mypy_cache .ruff_cache .pytest_cache
