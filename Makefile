# Every path here is relative: make takes a space in an absolute one for the end of a name.

PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=

.DELETE_ON_ERROR:
.PHONY: help env perf-env demo test lint bench bench-full fuzz faults nightly clean

help:
	@echo "make demo    carry a sample shop of a million rows from SQLite to a private PostgreSQL"
	@echo "make test    run the whole suite, style included; PYTEST_ARGS='-k words' narrows it"
	@echo "make lint    ruff and mypy alone"
	@echo "make bench   whole runs and single steps against rivals, in a quarter of an hour"
	@echo "make bench-full   the same at TPC-H scale factors up to 5, in hours"
	@echo "make clean   remove everything that these commands made, .venv included"
	@echo "The first of them makes .venv; PYTHON=python3.13 names another interpreter."

# An environment knows its own place by heart: moved or copied with its folder, it is made anew.
# The stamp holds that place.
STAMP := .venv/made-in
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

env: $(STAMP)

$(STAMP): pyproject.toml
	@command -v '$(PYTHON)' >/dev/null || \
	    { echo "There is no $(PYTHON) here; tableferry needs Python 3.11 or later." >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "tableferry needs Python 3.11 or later; name one with make PYTHON=..." >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "$(PYTHON) cannot make an environment: apt install python3-venv" >&2; exit 1; }
	'$(PYTHON)' -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@pwd > $@

# --drop-all: the second time, the target holds the rows of the first.
demo: env demo/shop.sqlite
	.venv/bin/migrate database --from sqlite:demo/shop.sqlite --to embedded:demo/pg \
	    --drop-all --yes --progress --report demo/report.json
	@echo "The report is in demo/report.json; to look at the data, start the server again with"
	@echo "  .venv/bin/python -m tableferry.dialects.postgresql.embedded demo/pg"

demo/shop.sqlite: tools/make_sample.py | $(STAMP)
	.venv/bin/python tools/make_sample.py $@

test: env
	.venv/bin/python -m pytest -n 2 $(PYTEST_ARGS)

lint: env
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check
	.venv/bin/python -m mypy

# Needs PostgreSQL 15, pgloader, psql and sqlite3 of the system; a rival that is not there is left out.
# BENCH_ARGS='--case tpch-1 --pairs 9' names cases and more: python -m perf.bench --help
bench: perf-env
	.venv/bin/python -m perf.bench --pairs 3 $(BENCH_ARGS)

bench-full: perf-env
	.venv/bin/python -m perf.bench --full $(BENCH_ARGS)

perf-env: env
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[perf]'

# Ten minutes each, over values, configuration files, URLs, rules and declared types; what they find joins the corpus.
fuzz: env
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	.venv/bin/python -m tests.fuzz.run values -max_total_time=600
	.venv/bin/python -m tests.fuzz.run gcfg -max_total_time=600
	.venv/bin/python -m tests.fuzz.run urls -max_total_time=600
	.venv/bin/python -m tests.fuzz.run casts -max_total_time=600
	.venv/bin/python -m tests.fuzz.run types -max_total_time=600

# The random tables, databases and mutations at their full number.
nightly: env
	TABLEFERRY_RANDOM_TABLES=2000 TABLEFERRY_RANDOM_TRIPS=200 \
	    TABLEFERRY_MUTATIONS=1000 TABLEFERRY_REWRITES=100 \
	    .venv/bin/python -m pytest -n 2 tests/random

# Runs that are killed, interrupted and short of room, at their full number; as root for small disks.
faults: env
	TABLEFERRY_KILLS=200 TABLEFERRY_FULL_DISKS=10 TABLEFERRY_CORRUPTED=500 \
	    TABLEFERRY_CORRUPTED_POSTGRESQL=50 .venv/bin/python -m pytest tests/faults

clean:
	rm -rf .venv demo dist perf/data perf/results .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests perf tools -name __pycache__ -prune -exec rm -rf {} +
