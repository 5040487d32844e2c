VENV ?= .venv
PYTHON ?= python3
PYTEST_ARGS ?=

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --quiet --disable-pip-version-check

# `make demo SRC=... DST=... ONCE=1` reaches manage.py through the environment.
export SRC DST ONCE

.DEFAULT_GOAL := help
.PHONY: help venv demo up test test-browser screenshots drills fuzz-api check messages \
	bench-scheduler bench-engine bench-api bench-admin soak clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## Make the virtualenv with what Syncbeat runs on
	@:

demo: $(VENV)/.installed ## Sync a sample, or SRC=folder DST=folder; ONCE=1 ends after one run
	@$(PY) manage.py demo

up: $(VENV)/.installed ## Run everything: web, worker, beat, and Redis unless CELERY_BROKER is set
	@$(PY) manage.py up

# Four parts at once, about as long as one another: most tests wait for servers and processes more
# than they compute. All but the first are shown when they are over.
ENGINE = tests/filesync/engine
ENGINE_TO_M = $(wildcard $(ENGINE)/test_[a-m]*.py)
APART = $(ENGINE) tests/test_servers.py tests/scheduler
CHOSEN = -m "not drill and not browser" $(PYTEST_ARGS)
test: $(VENV)/.tested ## Run the tests on SQLite, and those that touch a database on PostgreSQL
	@logs=$$(mktemp -d); others=; status=0; \
	trap 'kill $$others 2>/dev/null; rm -rf "$$logs"' EXIT; trap 'exit 130' INT TERM; \
	begin() { log=$$1; shift; $(PY) -m pytest $(CHOSEN) "$$@" >"$$logs/$$log" 2>&1 & others="$$others $$!"; }; \
	show() { echo "The tests $$2:"; wait $$3 || status=1; cat "$$logs/$$1"; }; \
	begin postgres --database=postgres; \
	begin to-m tests/scheduler $(ENGINE_TO_M); \
	begin from-n $(ENGINE) tests/test_servers.py $(ENGINE_TO_M:%=--ignore=%); \
	$(PY) -m pytest $(CHOSEN) $(APART:%=--ignore=%) || status=1; \
	set -- $$others; \
	show postgres "on PostgreSQL" $$1; \
	show to-m "of the scheduler, and of the engine, A to M" $$2; \
	show from-n "of the engine, N to Z, and of the servers" $$3; exit $$status

test-browser: $(VENV)/.tested ## Drive the admin with Debian's chromium, in both languages
	@$(PY) -m pytest -m browser $(PYTEST_ARGS) tests/browser

screenshots: $(VENV)/.tested ## Photograph every page into var/, the READMEs' ones into docs/images
	@DJANGO_SETTINGS_MODULE=project.settings SYNCBEAT_DATA_DIR="$$(mktemp -d)" \
	  $(PY) -m tests.browser.screenshots var/screenshots docs/images

# What is about Redis alone is left out on RabbitMQ.
drills: $(VENV)/.tested ## Kill, freeze and starve real processes, on each database and broker
	@status=0; \
	for both in "sqlite redis" "postgres redis" "postgres rabbitmq"; do \
	  set -- $$both; echo "Drills on $$1 with $$2:"; \
	  $(PY) -m pytest -m drill --database=$$1 --broker=$$2 $(PYTEST_ARGS) tests/drills || status=1; \
	done; exit $$status

messages: $(VENV)/.tested ## Add new texts to the Chinese catalogue and compile it
	@SYNCBEAT_DATA_DIR="$$(mktemp -d)"; trap 'rm -rf "$$SYNCBEAT_DATA_DIR"' EXIT; \
	export SYNCBEAT_DATA_DIR DJANGO_SETTINGS_MODULE=project.settings; $(PY) -m tests.messages

fuzz-api: $(VENV)/.tested ## Send 500 made-up requests per operation of the API, on each database
	@status=0; for database in sqlite postgres; do \
	  echo "Made-up requests on $$database:"; \
	  $(PY) -m pytest --database=$$database --fuzz-cases=500 --timeout=1800 $(PYTEST_ARGS) \
	    tests/filesync/api/test_fuzz.py || status=1; \
	done; exit $$status

bench-scheduler: $(VENV)/.tested ## Measure the scheduler beside celery-beat's own, 100,000 configs
	@$(PY) -m tests.benchmarks.scheduler --write docs/benchmarks.md

bench-engine: $(VENV)/.tested ## Measure the engine beside bare rclone, rsync and servers' defaults
	@$(PY) -m tests.benchmarks.engine --write docs/benchmarks.md

bench-api: $(VENV)/.tested ## Measure the API as shipped: 100,000 configs, 1,000,000 runs
	@$(PY) -m tests.benchmarks.api --write docs/benchmarks.md

bench-admin: $(VENV)/.tested ## Measure each page of the admin: 10,000 configs, 1,000,000 runs
	@$(PY) -m tests.benchmarks.admin --write docs/benchmarks.md

MINUTES ?= 30
CONFIGS ?= 500
soak: $(VENV)/.tested ## Let 500 configs fire each minute for MINUTES=30, and see that nothing grows
	@$(PY) -m tests.benchmarks.soak --minutes $(MINUTES) --configs $(CONFIGS) --write docs/benchmarks.md

# Checked as in production, over a data folder that goes away.
check: $(VENV)/.tested ## Check style, types, layers, migrations and production settings
	@set -e; \
	export SYNCBEAT_DATA_DIR="$$(mktemp -d)"; trap 'rm -rf "$$SYNCBEAT_DATA_DIR"' EXIT; \
	unset DATABASE_URL CELERY_BROKER; \
	export DJANGO_SETTINGS_MODULE=project.settings; \
	export SYNCBEAT_HTTPS=1 SYNCBEAT_ALLOWED_HOSTS=sync.example.org; \
	$(VENV)/bin/ruff check --quiet; \
	$(VENV)/bin/ruff format --check --quiet; \
	$(VENV)/bin/mypy; \
	PYTHONPATH=. $(VENV)/bin/lint-imports; \
	$(PY) manage.py makemigrations --check --dry-run; \
	$(PY) manage.py check --deploy --fail-level WARNING

clean: ## Remove the virtualenv and all caches; data stays
	@rm -rf "$(VENV)" .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Syncbeat needs Python 3.11 or later; $(PYTHON) is missing or older." \
	    "Name another one: make venv PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear "$(VENV)"
	@echo "Installing Syncbeat's packages into $(VENV) (first time: about half a minute) ..."
	@$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/.tested: $(VENV)/.installed tests/requirements.txt
	@echo "Installing the test tools into $(VENV) (first time: about a minute) ..."
	@$(PIP) install -r requirements.txt -r tests/requirements.txt
	@touch $@
