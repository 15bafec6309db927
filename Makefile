# Each target does its own set-up on a Debian 12 machine, as root: Debian packages, then the virtual environment.

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := manageboot grubenv qemu-harness tests setup.py

# Why each is needed stands in CONTRIBUTING.md.
PACKAGES := \
	git python3-venv python3-dev gcc pkg-config libsystemd-dev \
	debhelper dh-python dpkg-dev \
	grub-common grub2-common grub-emu grub-efi-amd64-bin grub-pc-bin \
	qemu-system-x86 qemu-utils ovmf mmdebstrap mtools gdisk dosfstools e2fsprogs btrfs-progs \
	locales tzdata zstd xz-utils bzip2 strace libfuse2 fuse lvm2 cryptsetup-bin systemd util-linux bsdutils mandoc groff-base \
	softhsm2 gnupg

# The tests start the programs thousands of times, and without bytecode each start compiles them anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help:
	@echo "make demo       a node upgrades itself twice in a virtual machine: once for good, once it falls back"
	@echo "make test       lint, types and the tests, but those that take minutes each"
	@echo "make check      lint and types only"
	@echo "make crash-grubenv    every state that a power cut can leave of the environment block, judged by GRUB"
	@echo "make check-protocol    the boot protocol, walked with the real GRUB, and with a host that boots its guests directly"
	@echo "make mutants    deliberate faults in all that takes part in the protocol, each of which that walk has to find"
	@echo "make crash-install     every write and flush of an installation made to fail, and kills at random instants"
	@echo "make crash-releases    floor, trusted metadata and memory of updates after a power cut at every write and flush"
	@echo "make power-cuts  a node's life in QEMU, its power cut at every instant, and each state judged; with -full all kinds of nodes"
	@echo "make power-cuts-peers      the same cuts of the shell procedure and of RAUC, by the rules of any updater"
	@echo "make power-cuts-mutants    steps of durability taken out of the agent, each of which the cuts of power have to show"
	@echo "make soak       nodes that lose their power again and again while they upgrade themselves: CUTS=500 SEED=1 NODES=(cores)"
	@echo "make bench      the install engine beside the shell way, bmaptool, and RAUC and SWUpdate of two Debians"
	@echo "make bench-release     a release beside the archive of the same images, in turn"
	@echo "make bench-delta       an update by a delta beside a full one, zstd --patch-from, casync, zchunk and RAUC: PAIR=base"
	@echo "make test-steady       the tests without virtual machines again and again, on a busy machine, in random order"
	@echo "make test-trixie       the tests without virtual machines with Debian 13's Python, libraries and tools"
	@echo "make test-long  the tests that take minutes each"
	@echo "make fuzz       environment block and releases: hypothesis with other examples each time, then a coverage-guided fuzzer"
	@echo "make speed      what reading and updating the environment block costs"
	@echo "make man        the manual pages, into build/man; make completion: for bash, zsh and fish, into build/completion"
	@echo "make errors     docs/errors.md, from what manageboot explain says"
	@echo "make install-icos      put manageboot.sh and all that belongs to it into the root below DESTDIR"
	@echo "make zipapp     manageboot.sh with all that belongs to it as one file, build/manageboot.sh"
	@echo "make docs       the documents as a site, build/docs/site"
	@echo "make pictures   pictures of that site, by a real browser, and of what status shows"
	@echo "make dist       wheel and source archive, in build/dist"
	@echo "make deb        Debian packages, in build/deb/bookworm; DISTRIBUTION=trixie for Debian 13"
	@echo "make format     format the sources"
	@echo "make lock       renew requirements-dev.txt"
	@echo "make clean      remove what was built, the cache of images included"

# While it is there, Debian's packages start no service: nothing of ours is to listen on this machine.
NO_SERVICES := /usr/sbin/policy-rc.d

.PHONY: packages
packages:
	@missing=; for package in $(PACKAGES); do \
		dpkg-query -W -f '$${db:Status-Abbrev}' $$package 2>/dev/null | grep -q '^ii' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		if ! test -e $(NO_SERVICES); then \
			trap 'rm -f $(NO_SERVICES)' EXIT; \
			printf '#!/bin/sh\nexit 101\n' >$(NO_SERVICES) && chmod 755 $(NO_SERVICES); \
		fi; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

$(VENV)/installed: requirements-dev.txt pyproject.toml | packages
	@echo "making the virtual environment"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check wheel setuptools
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-build-isolation -r requirements-dev.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps --config-settings editable_mode=compat --editable .
	@touch $@

# The release of Debian that the node runs, and whose GRUB judges: bookworm or trixie.
DISTRIBUTION ?= bookworm
export DISTRIBUTION

.PHONY: demo
demo: packages $(VENV)/installed
	@PYTHONPATH=qemu-harness $(BIN)/python -m qemu_harness.demo

.PHONY: check
check: packages $(VENV)/installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	grub-script-check manageboot/bootloader/grub.cfg
	grub-script-check manageboot/bootloader/slots.cfg

# One process runs all of a file, and tests/conftest.py says which ones come first. Many tests wait, for disks and for virtual
# machines, so there are more processes than cores.
IN_PARALLEL := --dist loadfile --no-loadscope-reorder --numprocesses $(shell expr $$(nproc) + 2) --maxprocesses 4

.PHONY: test
test: check
	$(BIN)/pytest $(IN_PARALLEL) --durations=10

.PHONY: test-trixie
test-trixie: packages $(VENV)/installed
	@PYTHONPATH=qemu-harness $(BIN)/python -m tests.trixie

.PHONY: test-steady
test-steady: packages $(VENV)/installed
	@$(BIN)/python -m tests.steady

.PHONY: crash-grubenv
crash-grubenv: packages $(VENV)/installed
	@$(BIN)/python -m tests.grubenv.crash

.PHONY: check-protocol
check-protocol: packages $(VENV)/installed
	@cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m protocol.walk

.PHONY: mutants
mutants: packages $(VENV)/installed
	@cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m protocol.mutants

.PHONY: crash-install
crash-install: packages $(VENV)/installed
	@cd tests && ../$(BIN)/python -m install.crash && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m offline.crash

.PHONY: crash-releases
crash-releases: packages $(VENV)/installed
	@cd tests && exec env PYTHONPATH=..:../qemu-harness ../$(BIN)/python -m channel.crash

# One life in QEMU, and every power cut in it; a few minutes. POWER_CUTS names other lives, as "release --samples 1", or --all.
POWER_CUTS := guest --samples 1 --boots 1
SEED := 1

# Lives are recorded beside each other, and a late boot is no finding.
power-cuts power-cuts-full: export MANAGEBOOT_BOOT_DEADLINE := 900

.PHONY: power-cuts
power-cuts: packages $(VENV)/installed
	@cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m powercuts run $(POWER_CUTS) --seed $(SEED) --report ../power-cuts

.PHONY: power-cuts-full
power-cuts-full: packages $(VENV)/installed
	@cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m powercuts run --all --boots 20 --seed $(SEED) --report ../power-cuts

power-cuts-peers: PACKAGES += openssl

.PHONY: power-cuts-peers
power-cuts-peers: packages $(VENV)/installed
	@cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m powercuts run --peers --samples 1 --seed $(SEED) --report ../power-cuts

.PHONY: power-cuts-mutants
power-cuts-mutants: packages $(VENV)/installed
	@cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m powercuts.mutants

# Nodes that upgrade themselves and lose their power at random instants; it takes hours.
CUTS := 500
NODES := $(shell nproc)

.PHONY: soak
soak: packages $(VENV)/installed
	@cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m powercuts.soak run --cuts $(CUTS) --seed $(SEED) --nodes $(NODES) \
		--report ../.cache/soak

.PHONY: bench
bench: packages $(VENV)/installed
	@mkdir -p .cache/bench && cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m bench --directory ../.cache/bench

# Installed as a release and as an archive, in turn; it leaves caches and memory of the machine as they are.
.PHONY: bench-release
bench-release: packages $(VENV)/installed
	@mkdir -p .cache/bench && cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m bench --directory ../.cache/bench \
		--quick --image small --rounds 15 --only manageboot

# Two states of a root file system are built of packages first; base takes minutes, servers and desktop hours.
PAIR := base

.PHONY: bench-delta
bench-delta: PACKAGES += casync curl nginx-light zchunk
bench-delta: packages $(VENV)/installed
	@mkdir -p .cache/bench && cd tests && exec env PYTHONPATH=../qemu-harness ../$(BIN)/python -m bench.delta --directory ../.cache/bench --pair $(PAIR)

# In it, a browser shows the page of the power cuts, RAUC's bundles are signed, zsh and fish complete command lines, and real
# servers are fetched from.
test-long: PACKAGES += chromium openssl zsh fish
test-long: PACKAGES += iproute2 lighttpd lighttpd-mod-openssl nginx-light python3-pycurl squid-openssl

.PHONY: test-long
test-long: packages $(VENV)/installed
	$(BIN)/pytest -m long --dist loadfile --no-loadscope-reorder --numprocesses 2 --durations=0

FUZZ := .cache/fuzz
FUZZ_SECONDS := 600
FUZZ_SEED := 1

.PHONY: fuzz
fuzz: packages $(VENV)/installed
	FUZZ_EXAMPLES=2000 $(BIN)/pytest -q tests/grubenv -k "not crash and not writers and not calls"
	FUZZ_EXAMPLES=5000 $(BIN)/pytest -q tests/release
	FUZZ_EXAMPLES=10000 $(BIN)/pytest -q tests/channel -k "damage or changed"
	@test -x $(FUZZ)/bin/python || $(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/pip install -qq --disable-pip-version-check atheris construct
	@rm -rf $(FUZZ)/corpus
	$(FUZZ)/bin/python -m tests.grubenv.fuzz $(FUZZ)/corpus -seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_SECONDS) \
		-max_len=2048 -artifact_prefix=$(FUZZ)/

.PHONY: speed
speed: packages $(VENV)/installed
	@$(BIN)/python -m tests.grubenv.speed

# Made from the parser, the settings and the errors with Python alone, so that a Debian package can be built with it.
.PHONY: man completion
man completion:
	@rm -rf build/$@
	@$(PYTHON) -m manageboot.manual $@ build/$@

# A test compares it.
.PHONY: errors
errors:
	@$(PYTHON) -m manageboot.manual errors docs

# What is installed: all but what makes the manual. A node of IC-OS publishes nothing, and a Debian package may.
INSTALLED := grubenv manageboot -type f ! -path '*/__pycache__/*' ! -path 'manageboot/manual/*'
ON_IC_OS := $(INSTALLED) ! -path 'manageboot/publish/*'

DESTDIR :=
LIBRARY := /usr/share/manageboot
# The modules $(2) into the directory $(1). They carry the commit that they are built from; grubenv/commit.py says how else it
# is known.
define INSTALL_MODULES
	@find $(2) -exec install -D -m 644 {} $(1)/{} \;
	@commit=$$($(PYTHON) -c 'from grubenv.commit import commit; print(commit())') && \
		sed -i "s/^COMMIT = .*/COMMIT = \"$$commit\"/" $(1)/grubenv/commit.py
endef
# The program $(1), whose module is $(2), with the modules in $(3) beside it; without $(3) Python finds them.
define INSTALL_PROGRAM
	@install -d $(dir $(DESTDIR)$(1))
	@printf '%s\n' '#!$(PYTHON) -I' $(if $(3),'import os' )'import sys' \
		$(if $(3),'sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "$(3)"))' )\
		'from $(2).__main__ import main' 'sys.exit(main())' >$(DESTDIR)$(1)
	@chmod 755 $(DESTDIR)$(1)
endef
define INSTALL_UNITS
	@install -D -m 644 systemd-units/manageboot.catalog $(DESTDIR)/usr/lib/systemd/catalog/manageboot.catalog
	@install -D -m 644 systemd-units/manageboot.tmpfiles.conf $(DESTDIR)/usr/lib/tmpfiles.d/manageboot.conf
	@install -D -m 644 systemd-units/manageboot.preset $(DESTDIR)/usr/lib/systemd/system-preset/90-manageboot.preset
endef

# What it needs on the node stands in docs/ic-os.md. The bytecode is made here, because there the root is read-only; it
# goes by content, since those who build images set all times to one.
.PHONY: install-icos
install-icos:
	@rm -rf $(DESTDIR)$(LIBRARY)
	$(call INSTALL_MODULES,$(DESTDIR)$(LIBRARY),$(ON_IC_OS))
	@$(PYTHON) -I -m compileall -q --invalidation-mode checked-hash -s $(DESTDIR)/ -p / $(DESTDIR)$(LIBRARY)
	$(call INSTALL_PROGRAM,/usr/bin/manageboot,manageboot,../share/manageboot)
	$(call INSTALL_PROGRAM,/usr/bin/grubenv,grubenv,../share/manageboot)
	$(call INSTALL_PROGRAM,/opt/ic/bin/manageboot.sh,manageboot.icos,../../../usr/share/manageboot)
	$(INSTALL_UNITS)
	@install -D -m 644 -t $(DESTDIR)/usr/lib/systemd/system systemd-units/*.service systemd-units/*.timer

# What debian/rules makes its packages of. Where the service goes depends on the release, which debhelper knows.
.PHONY: install-debian
install-debian:
	$(call INSTALL_MODULES,$(DESTDIR)/usr/lib/python3/dist-packages,$(INSTALLED))
	$(call INSTALL_PROGRAM,/usr/bin/manageboot,manageboot)
	$(call INSTALL_PROGRAM,/usr/bin/grubenv,grubenv)
	$(call INSTALL_PROGRAM,/opt/ic/bin/manageboot.sh,manageboot.icos)
	$(INSTALL_UNITS)

# One file that a root may be made with, or that is mounted over the one of an older release. The bytecode in it is that of
# PYTHON, and another version takes the sources. Nothing is compressed, which starts faster; all times are one, so that the
# same sources make the same file.
ZIPAPP := build/manageboot.sh
.PHONY: zipapp
zipapp:
	@rm -rf $(ZIPAPP).d && mkdir -p $(ZIPAPP).d
	$(call INSTALL_MODULES,$(ZIPAPP).d,$(ON_IC_OS))
	@printf '%s\n' 'import sys' 'from manageboot.icos.__main__ import main' 'sys.exit(main())' >$(ZIPAPP).d/__main__.py
	@$(PYTHON) -I -m compileall -q -b --invalidation-mode unchecked-hash -s $(ZIPAPP).d -p manageboot.sh $(ZIPAPP).d
	@find $(ZIPAPP).d -exec touch -d 2000-01-01T00:00:00Z {} +
	@TZ=UTC $(PYTHON) -I -m zipapp $(ZIPAPP).d --python '$(PYTHON) -I' --output $(ZIPAPP)
	@chmod 755 $(ZIPAPP) && rm -rf $(ZIPAPP).d

# The site of the documents, in an environment of its own, since neither a node nor a test needs it. Warnings are errors.
SITE := build/docs
.PHONY: docs
docs: | packages
	@test -x .cache/docs/bin/mkdocs || { $(PYTHON) -m venv .cache/docs && \
		.cache/docs/bin/pip install -qq --disable-pip-version-check -r docs/requirements.txt; }
	@rm -rf $(SITE) && mkdir -p $(SITE)/pages
	@cp docs/*.md docs/*.png docs/*.svg docs/*.css docs/conformance.json CONTRIBUTING.md CHANGELOG.md SECURITY.md $(SITE)/pages
	@cp systemd-units/README.md $(SITE)/pages/systemd-units.md
	@.cache/docs/bin/mkdocs build --quiet --strict --config-file docs/mkdocs.yml
	@echo "$(SITE)/site/index.html"

# What the documents look like in a browser, at the widths of a desk and of a phone: build/docs/pictures, and docs/site.png.
pictures: PACKAGES += chromium
.PHONY: pictures
pictures: docs $(VENV)/installed
	@cd tests && $(PYTHON) -m documents.screenshots
	@cd tests && exec ../$(BIN)/python -m report.pictures

# The same sources make the same files, whoever builds them: a source archive that is packed once more, with one time, one
# owner and the usual modes for all that is in it, and the wheel that is built from it.
DIST := build/dist
dist: export SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),1767225600)
.PHONY: dist
# One at a time: setuptools puts the source archive together in a directory of the checkout.
dist: packages $(VENV)/installed
	@rm -rf $(DIST) && mkdir -p $(DIST)/scratch
	@flock pyproject.toml $(BIN)/python -m build --no-isolation --sdist --outdir $(DIST)/scratch . >$(DIST)/scratch/log 2>&1 || { cat $(DIST)/scratch/log; exit 1; }
	@cd $(DIST)/scratch && tar --extract --file *.tar.gz && tree=$$(echo manageboot-*/) && tree=$${tree%/} && \
		tar --create --sort=name --format=ustar --mtime=@$$SOURCE_DATE_EPOCH --owner=root:0 --group=root:0 \
			--mode=u=rwX,go=rX $$tree | gzip --no-name --best >../$$tree.tar.gz && rm -r $$tree
	@umask 022 && tar --extract --directory=$(DIST)/scratch --file $(DIST)/manageboot-*.tar.gz && \
		$(BIN)/python -m build --no-isolation --wheel --outdir $(DIST) $(DIST)/scratch/manageboot-*/ >$(DIST)/scratch/log 2>&1 || \
		{ cat $(DIST)/scratch/log; exit 1; }
	@rm -rf $(DIST)/scratch && ls $(DIST)/*

# From the source archive, so that it is known to have all that it needs.
DEB := build/deb/$(DISTRIBUTION)
.PHONY: deb
deb: dist
	@rm -rf $(DEB) && PYTHONPATH=qemu-harness $(BIN)/python -m qemu_harness.packages $(DIST)/manageboot-*.tar.gz $(DEB)
	@ls $(DEB)/*

.PHONY: format
format: $(VENV)/installed
	$(BIN)/ruff check --fix --exit-zero $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

.PHONY: lock
lock: | packages
	@rm -rf .cache/lock && $(PYTHON) -m venv .cache/lock
	@.cache/lock/bin/pip install -qq --disable-pip-version-check wheel setuptools
	@.cache/lock/bin/pip install -qq --disable-pip-version-check --no-build-isolation -r requirements-dev.in
	@{ echo "# Exact versions for development and CI; made from requirements-dev.in by \`make lock\`. Nodes use the ranges of pyproject.toml."; \
	   .cache/lock/bin/pip freeze --all --exclude pip; } > requirements-dev.txt

.PHONY: clean
clean:
	rm -rf --one-file-system $(VENV) .cache build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
