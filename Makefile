# Plain python3 >= 3.11 with venv is all that `make install` needs. `make run` and `make test` also install what
# they use from Debian or Ubuntu with apt; elsewhere, or without root, they say what is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test files side by side; what measures times runs after them, alone.
JOBS ?= 2
APT_RUN := prometheus prometheus-alertmanager gcc libc6-dev
APT_TEST := $(APT_RUN) openssl prometheus-node-exporter systemd chromium

.PHONY: install run test test-systemd bundle test-bundle campaign dying bench bench-short bench-where bench-jitter bench-set-up bench-paging bench-fleet paging month quarters shards lint metrics-table rules allow-list dashboards preview mutants fuzz soak constraints clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "accelwatch needs Python 3.11 or later; $(PYTHON) is older or not there. Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) lacks venv. On Debian and Ubuntu, as root: apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

# With what its report is made by.
run: install
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[report]'
	@systemd/require-packages.sh $(APT_RUN)
	@$(BIN)/accelwatch run

test: $(VENV)/.installed-test
	@systemd/require-packages.sh $(APT_TEST)
	@$(MAKE) --no-print-directory lint
	@$(BIN)/pytest -q -m "not alone" -n $(JOBS) --dist loadfile
	@$(BIN)/pytest -q -m alone

test-systemd: install
	@tests/systemd/run.sh

# One archive for nodes without a network, in dist/.
bundle: $(VENV)/.installed
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bundle]'
	@$(BIN)/python systemd/offline_bundle.py

# That archive installed in fresh systems without a network: x86_64, and aarch64 under emulation.
test-bundle: bundle
	@tests/bundle/run.sh

# What the agent costs, beside node_exporter and nvitop-exporter; writes tests/benchmarks/RESULTS.md. On a machine that
# does nothing else, about 25 minutes. ROUNDS=1: half of it. The short form: 16 healthy devices, once, two minutes.
bench: bench-set-up
	@$(BIN)/python tests/benchmarks/run.py $(if $(ROUNDS),--rounds $(ROUNDS))

# Of the long form only where the processor time goes, by thread and part: three minutes.
bench-where: bench-set-up
	@$(BIN)/python tests/benchmarks/run.py --where

bench-short: bench-set-up
	@$(BIN)/python tests/benchmarks/run.py --short

# How much slower a process is beside the agent: about a quarter of an hour.
bench-jitter: bench-set-up
	@$(BIN)/python tests/benchmarks/jitter.py

bench-set-up: $(VENV)/.installed-test $(VENV)-bench/.installed $(VENV)-node/.installed
	@systemd/require-packages.sh $(APT_TEST) strace
	@$(VENV)-node/bin/python -m compileall -q agent/accelwatch

# The agent with what it needs and no more, as on a node: libraries load what they find, and tests bring much.
$(VENV)-node/.installed: pyproject.toml constraints.txt
	@test -x $(VENV)-node/bin/python || $(PYTHON) -m venv $(VENV)-node
	@$(VENV)-node/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# What people run today, in an environment of its own; where there is none to be had, the measurement does without.
$(VENV)-bench/.installed:
	@$(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/pip install --quiet --disable-pip-version-check nvitop-exporter==1.7.2 \
	  || echo "nvitop-exporter cannot be installed here: measured without it"
	@touch $@

# From a fault to the webhook, 50 faults by each way: about four minutes.
bench-paging: $(VENV)/.installed-test
	@systemd/require-packages.sh $(APT_TEST)
	@$(BIN)/python tests/benchmarks/paging_latency.py

# What a fleet costs its Prometheus, and whether that grows linearly: about 30 minutes. NODES: a size each; SECONDS of each.
bench-fleet: $(VENV)/.installed-test
	@systemd/require-packages.sh $(APT_TEST)
	@$(BIN)/python tests/benchmarks/fleet_scale.py $(if $(NODES),--nodes $(NODES)) $(if $(SECONDS),--seconds $(SECONDS))

# Two shards and a Prometheus that federates them, with the rules as they are shipped and a hang: about 20 minutes.
shards: $(VENV)/.installed-test
	@systemd/require-packages.sh $(APT_TEST)
	@PYTHONPATH=tests:dashboards $(BIN)/python -m shards.run

# 64 nodes in one run, 8 of them with real agents, and what reaches the pager: about 50 minutes. SCENES: only these.
paging: $(VENV)/.installed-test
	@systemd/require-packages.sh $(APT_TEST)
	@PYTHONPATH=tests $(BIN)/python -m paging.run $(SCENES)

# Every way in which a driver dies, on a node of its own each: about three minutes. SCENE: a word of their names.
dying: $(VENV)/.installed-test
	@PYTHONPATH=tests $(BIN)/python -m dying.run $(SCENE)

# Faults injected into simulated nodes, and agents killed meanwhile: about half an hour. REPORT: where figures are left.
campaign: $(VENV)/.installed-test
	@PYTHONPATH=tests $(BIN)/python -m campaign.run --report $(or $(REPORT),.campaign)

# 30 simulated days of ordinary work per vendor: what the agent would say of them. About half an hour.
month: $(VENV)/.installed-test
	@$(BIN)/python tests/replay/month.py

# What the report says of quarters whose true rates are known: intervals, differences, three of them through Prometheus, and
# 1,000 devices over 90 days. About five minutes.
quarters: $(VENV)/.installed-test
	@systemd/require-packages.sh $(APT_TEST)
	@PYTHONPATH=tests $(BIN)/python -m quarters.run

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

metrics-table: $(VENV)/.installed-test
	@$(BIN)/python tests/readme_table.py

rules: $(VENV)/.installed-test
	@$(BIN)/python -m accelwatch.commands.class_rules alerts/rules/faults.yml

# What alerts/scale keeps of all series, from rules, dashboards and commands.
allow-list: $(VENV)/.installed-test
	@$(BIN)/python alerts/scale/allow_list.py

# The dashboards' JSON from their code.
dashboards: $(VENV)/.installed-test
	@cd dashboards && $(abspath $(BIN))/python -m boards

# Pictures of the dashboards. PREVIEW: the folder of the preview tool; PROMETHEUS: one on a loopback address.
preview:
	@test -x "$(PREVIEW)/preview" && test -n "$(PROMETHEUS)" || \
	  { echo "make preview PREVIEW=<folder of the preview tool> PROMETHEUS=http://127.0.0.1:9090"; exit 1; }
	@"$(PREVIEW)/preview" --prometheus "$(PROMETHEUS)" --out .preview dashboards/json/*.json

mutants: $(VENV)/.installed-test
	@PYTHONPATH=tests $(BIN)/python -m alerts.mutants

# Every parser of what comes from outside with many inputs; coverage-guided where atheris can be had (x86_64, Python up to
# 3.13). INPUTS: for each target; SECONDS instead: the same time for each. A finding's input is left in .fuzz.
fuzz: $(VENV)/.installed-test
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,fuzz]' || \
	  echo "atheris cannot be had here: inputs by mutation alone"
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run $(if $(SECONDS),--seconds $(SECONDS),--inputs $(or $(INPUTS),1000000))

# What an agent holds after 100,000 polls and 10,000 reloads, as a table; exit 1 where that grows. On a machine that does
# nothing else, about a quarter of an hour. SHARE: a part of it.
soak: $(VENV)/.installed-test
	@systemd/require-packages.sh $(APT_TEST)
	@PYTHONPATH=tests $(BIN)/python -m soak.run $(if $(SHARE),--share $(SHARE))

constraints: $(VENV)/.installed-test
	@{ echo '# Versions that the tests pass with; `make install` keeps to them. Made by `make constraints`.'; \
	   $(BIN)/pip freeze --exclude-editable; } > constraints.txt

clean:
	@rm -rf $(VENV) $(VENV)-bench $(VENV)-node dist .run .campaign .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis
