# fcgihost: a FastCGI and SCGI host for Python. `make help` lists the targets.
#
# Variables:  PYTHON=/usr/bin/python3   the Python to embed (3.9 to 3.14), with its headers and library
#             PYTHON_LINK=auto          static: Python becomes part of the program, as fast as Debian's python3;
#                                       shared: the system's libpython; auto: static where libpythonX.Y.a is
#             CC=gcc                    or clang
#             SAN=address,undefined     a build with sanitizers (or SAN=thread), in a folder of its own
#             PGO=use                   for install and the like after make pgo: what that has built
#             PREFIX=/usr/local DESTDIR=
#             V=1                       print whole commands
#             T=pattern                 for the test targets: only tests whose name contains it
#             APPLICATIONS="klaus hgweb"    for test-applications; for test, which runs them as well
#             SUITES="bookworm trixie"  for test-fresh
#             PORT=8080                 for demo
#             ROWS=gcc,3.13             for matrix
#             HOURS=1                   for torture
#             REQUESTS=10000000 MINUTES=10 SITES=host    for soak
#             STAGES=start KINDS=open   for fault-sweep
#             PEERS=1000 FRONTS=nginx   for slow-peers
#             REQUESTS=10000 FRONTS=nginx,caddy    for hostile-clients
#             CASE=hello-*,start ROUNDS=7 SECONDS=0.6    for bench; AGAINST=PROGRAM: another build, not the peers

PYTHON  ?= /usr/bin/python3
# Leaks of CPython's own are told apart by its library's name (test/e2e/lsan.supp).
PYTHON_LINK ?= $(if $(SAN),shared,auto)
PREFIX  ?= /usr/local
DESTDIR ?=
PORT    ?= 8080
CASE    ?=
AGAINST ?=
PGO     ?=
ROUNDS  ?= 7
SECONDS ?= 0.6
SAN     ?=
T       ?=
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' python/fcgihost/__init__.py)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.PHONY: all deps deps-demo deps-test deps-bench deps-lint deps-fresh deps-matrix deps-applications deps-page demo test run-test \
        test-unit test-python test-e2e test-page test-applications run-applications test-fuzz torture run-torture fault-sweep run-fault-sweep soak run-soak slow-peers run-slow-peers hostile-clients run-hostile-clients matrix test-fresh bench run-bench pgo lint run-lint lint-includes lint-units lint-docs lint-c lint-python format compdb \
        install uninstall clean help

# What make asks of installed packages as it starts is unknown to it if they come later. So a goal that installs
# packages does nothing else itself: what it is for is a goal of another make, which starts afterwards.
INSTALLING := deps deps-% demo test test-page test-applications test-fresh torture fault-sweep soak slow-peers hostile-clients matrix bench lint
NEEDS_NO_PACKAGE := $(INSTALLING) dist test-package help clean format uninstall lint-includes lint-units lint-python test-fuzz
goals := $(or $(MAKECMDGOALS),all)

ifneq ($(and $(word 2,$(goals)),$(filter $(INSTALLING),$(goals))),)
# Beside others (`make deps install`) each has a make of its own.
.NOTPARALLEL:
.PHONY: $(goals)
$(goals):
	@$(MAKE) --no-print-directory $@
else

ifneq ($(filter-out $(NEEDS_NO_PACKAGE),$(goals)),)
# What the embedded Python says of itself: interpreter, headers and library come from one place.
python_facts := $(shell CC='$(CC)' PYTHON_LINK='$(PYTHON_LINK)' $(PYTHON) .ci/python-facts 2>/dev/null)
ifneq ($(filter error,$(firstword $(python_facts) error)),)
$(error PYTHON=$(PYTHON) $(or $(wordlist 2,99,$(python_facts)),does not run): `make $(if $(filter test-%,$(goals)),deps-test,deps)` installs Debian's)
endif
FCGI_VERSION := $(shell dpkg-query -W -f '$${Version}' libfcgi-dev 2>/dev/null || pkg-config --modversion fcgi 2>/dev/null)
INIH_VERSION := $(shell dpkg-query -W -f '$${Version}' libinih-dev 2>/dev/null || pkg-config --modversion inih 2>/dev/null)
endif
PY_VERSION := $(word 1,$(python_facts))
PY_INCLUDE := $(word 2,$(python_facts))
PY_PROGRAM := $(word 3,$(python_facts))
PY_STAMP   := $(word 4,$(python_facts))
PY_LINK    := $(word 5,$(python_facts))
PY_LDLIBS  := $(wordlist 6,99,$(python_facts))

# A folder for each combination, so that objects of one never meet those of another.
comma   := ,
VARIANT := py$(PY_VERSION)$(if $(filter shared,$(PY_LINK)),-shared)$(if $(filter clang%,$(CC)),-$(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(PGO),-pgo)
BUILD   := build/$(VARIANT)
PROGRAM := $(BUILD)/fcgihost

CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
           -Wpointer-arith -Wundef -Wwrite-strings -Wno-missing-field-initializers
# Those that this compiler knows without a warning, for this machine.
known_flags = $(shell for flag in $(1); do \
    echo '#include <stdio.h>' | $(CC) -O2 -Werror -U_FORTIFY_SOURCE $$flag -x c -c -o /dev/null - 2>/dev/null && echo $$flag; done)
HARDEN  := $(if $(SAN),-fno-omit-frame-pointer -fsanitize=$(SAN),-fstack-protector-strong -U_FORTIFY_SOURCE \
           $(or $(call known_flags,-D_FORTIFY_SOURCE=3),-D_FORTIFY_SOURCE=2) \
           $(call known_flags,-fstack-clash-protection -fcf-protection))
# PGO=train: the program writes at its exit how often each branch was taken; PGO=use: it is compiled by that. Both have
# one folder, as gcc looks for an object's counts beside it. What the training never did is optimised as usual.
PGO_FLAGS-gcc-train   := -O3 -fprofile-generate -fprofile-update=prefer-atomic
PGO_FLAGS-gcc-use     := -O3 -flto=auto -fprofile-use -fprofile-partial-training -Wno-missing-profile
PGO_FLAGS-clang-train := -O3 -fprofile-instr-generate -fprofile-update=prefer-atomic
PGO_FLAGS-clang-use   := -O3 -fprofile-instr-use=$(BUILD)/profile -Wno-profile-instr-unprofiled -Wno-profile-instr-out-of-date
PGO_COMPILER := $(if $(filter clang%,$(CC)),clang,gcc)
PGO_FLAGS    := $(PGO_FLAGS-$(PGO_COMPILER)-$(PGO))
ifneq ($(and $(filter use,$(PGO)),$(if $(wildcard $(BUILD)/*.gcda $(BUILD)/profile),,none)),)
$(error PGO=use, but there is no profile in $(BUILD): make pgo makes one)
endif
# libpythonX.Y.a is not position independent, as Debian's python3 is not. Its functions are exported, for extensions; the
# program's own are hidden: an extension that has one of the same name must get its own.
NO_PIE  := $(filter static,$(PY_LINK))
ALL_CFLAGS  = -std=c11 -D_GNU_SOURCE -pthread -Ifcgihost -I$(BUILD) $(WARN) $(HARDEN) -fvisibility=hidden $(CFLAGS) $(PGO_FLAGS) $(if $(NO_PIE),-fno-pie,-fPIE) -MMD -MP
ALL_LDFLAGS = -pthread $(if $(SAN),-fsanitize=$(SAN),-Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now) $(LDFLAGS) $(if $(PGO),$(CFLAGS) $(PGO_FLAGS)) $(if $(NO_PIE),-no-pie,-pie)
LDLIBS      = -lfcgi -linih $(PY_LDLIBS) -ldl -lm

PY_LINK_TEXT := $(if $(filter static,$(PY_LINK)),built in,as shared library)

# An object lies in $(BUILD) as its source does in fcgihost/ or in test/.
objects_of = $(patsubst fcgihost/%.c,$(BUILD)/%.o,$(patsubst test/%.c,$(BUILD)/%.o,$(1)))

SOURCES := $(wildcard fcgihost/*.c fcgihost/*/*.c)
HEADERS := $(wildcard fcgihost/*.h fcgihost/*/*.h)
OBJECTS := $(call objects_of,$(SOURCES))
TEST_SOURCES := $(wildcard test/unit/*.c test/bench/*.c)

# `CC fcgihost/connection/poller.c` in the place of the command that follows; V=1: the command; make -s: neither.
is_silent := $(findstring s,$(firstword -$(MAKEFLAGS)))
say = $(if $(is_silent)$(filter-out 0,$(V)),,@printf '%-4s %s\n' $(1) $(2) && )

all: $(PROGRAM) ## build build/fcgihost
	@test -n "$(SAN)" || cmp -s $(PROGRAM) build/fcgihost || { cp $(PROGRAM) build/.fcgihost && mv build/.fcgihost build/fcgihost; }
	@$(if $(is_silent),:,echo '$(if $(SAN),$(PROGRAM),build/fcgihost): $(VERSION), Python $(PY_VERSION) $(PY_LINK_TEXT), libfcgi $(FCGI_VERSION), inih $(INIH_VERSION)$(if $(SAN),$(comma) sanitizers: $(SAN))')

$(PROGRAM): $(OBJECTS)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(LDLIBS)

# Files that include Python.h start with py_, their tests with test_py_.
define compile
@mkdir -p $(@D)
$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(if $(filter py_% test_py_%,$(notdir $<)),-isystem $(PY_INCLUDE)) -c -o $@ $<
endef

$(BUILD)/%.o: fcgihost/%.c $(BUILD)/.flags | $(BUILD)/build_facts.h
	$(compile)

$(BUILD)/%.o: test/%.c $(BUILD)/.flags | $(BUILD)/build_facts.h
	$(compile)

# What the program knows of its build, for the files that include build_facts.h.
define BUILD_FACTS
#define FCGIHOST_VERSION "$(VERSION)"
#define FCGIHOST_DATADIR "$(PREFIX)/share/fcgihost"
#define FCGIHOST_PYTHON "$(PY_PROGRAM)"
#define FCGIHOST_PYTHON_LINK "$(PY_LINK_TEXT)"
#define FCGIHOST_PYTHON_STAMP "$(if $(NO_PIE),$(PY_STAMP))"
#define FCGIHOST_FCGI_VERSION "$(FCGI_VERSION)"
#define FCGIHOST_INIH_VERSION "$(INIH_VERSION)"
endef
export BUILD_FACTS

$(BUILD)/build_facts.h: FORCE
	@mkdir -p $(BUILD)
	@echo "$$BUILD_FACTS" | cmp -s - $@ || echo "$$BUILD_FACTS" > $@

# The page of the status, as a string in C: one line for each of the file's.
$(BUILD)/status_page.h: fcgihost/status/page.html
	@mkdir -p $(BUILD)
	@{ echo 'static const char status_page[] ='; \
	   sed 's/[\\"]/\\&/g; s/^/"/; s/$$/\\n"/' $<; echo ';'; } > $@
$(BUILD)/status/format_page.o: $(BUILD)/status_page.h

# Changes when the flags do, and so everything is compiled again.
$(BUILD)/.flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(ALL_CFLAGS) $(PY_INCLUDE) $(ALL_LDFLAGS) $(LDLIBS) $(FCGI_VERSION)' | cmp -s - $@ || \
	 echo '$(CC) $(ALL_CFLAGS) $(PY_INCLUDE) $(ALL_LDFLAGS) $(LDLIBS) $(FCGI_VERSION)' > $@
FORCE:

# Which headers an object was made from.
-include $(patsubst %.o,%.d,$(OBJECTS) $(call objects_of,$(TEST_SOURCES)))

# The profile is taken anew; from the same profile, BUILD-pgo without its objects, comes the same program.
pgo: $(BUILD)/bench/load ## build/fcgihost with -O3, LTO and a profile that it makes itself (half a minute)
	@rm -rf $(BUILD)-pgo
	@$(MAKE) --no-print-directory -s PGO=train $(BUILD)-pgo/fcgihost
	@echo 'training: $(BUILD)-pgo/fcgihost serves test/bench/apps'
	@LLVM_PROFILE_FILE=$(abspath $(BUILD)-pgo)/part-%p.profraw FCGIHOST=$(abspath $(BUILD)-pgo/fcgihost) \
	    /usr/bin/python3 -B test/bench/train.py --load $(BUILD)/bench/load
ifeq ($(PGO_COMPILER),clang)
	@$$($(CC) -print-prog-name=llvm-profdata) merge -o $(BUILD)-pgo/profile $(BUILD)-pgo/*.profraw
endif
	@$(MAKE) --no-print-directory PGO=use all

##@ From a fresh machine

deps: ## install what the build needs (with apt; elsewhere it names the packages)
	@.ci/deps build
deps-demo:
	@.ci/deps build demo
deps-test:
	@.ci/deps build test $(if $(APPLICATIONS),applications $(APPLICATIONS))
deps-page:
	@.ci/deps build page
deps-applications:
	@.ci/deps build applications $(or $(APPLICATIONS),$(ALL_APPLICATIONS))
deps-bench:
	@.ci/deps build bench
deps-lint:
	@.ci/deps build lint
deps-fresh:
	@.ci/deps fresh
deps-matrix:
	@.ci/deps matrix
deps-deb:
	@.ci/deps deb

demo: deps-demo ## serve examples/ behind nginx on 127.0.0.1:8080 (PORT=) until interrupted
	@$(MAKE) --no-print-directory all
	@PORT=$(PORT) exec $(PYTHON) examples/demo/demo.py

##@ Tests

test: deps-test ## run every suite; the last line is "N passed, N failed, N skipped"
	@$(MAKE) --no-print-directory run-test

run-test: all unit-programs
	@$(TEST_RUN) unit python e2e $(if $(APPLICATIONS),applications)

# The tests' own Python is Debian's, which has pytest; the program embeds PYTHON.
TEST_RUN = FCGIHOST=$(abspath $(PROGRAM)) BUILD=$(abspath $(BUILD)) PYTHON=$(PYTHON) SAN=$(SAN) T='$(T)' RERUN=$(RERUN) JOBS=$(JOBS) \
           APPLICATIONS='$(APPLICATIONS)' /usr/bin/python3 -B test/run.py

test-unit: unit-programs ## the C modules, one cmocka program each
	@$(TEST_RUN) unit
test-python: ## the Python package, without a host
	@$(TEST_RUN) python
test-e2e: all ## the real program behind real web servers (make test-e2e T=kept_connection)
	@$(TEST_RUN) e2e

# Apart, as Chromium takes longer to install than the tests to run.
test-page: deps-page ## the status page in headless Chromium; its screenshots stay in build/status-page
	@$(MAKE) --no-print-directory test-e2e T=test_status_page

test-applications: deps-applications ## Debian's Radicale, Mailman and others, unchanged, behind nginx (APPLICATIONS=)
	@$(MAKE) --no-print-directory run-applications
ALL_APPLICATIONS := radicale klaus mapproxy hgweb graphite searx mailman django

run-applications: all
	@$(TEST_RUN) applications

test-fresh: deps-fresh ## make test and make demo as the first commands on bare roots of Debian (takes root)
	@T='$(T)' sh test/fresh.sh $(SUITES)
SUITES ?= bookworm trixie

matrix: deps-test deps-matrix ## every suite: Pythons, compilers, sanitizers, bare systems (T=, ROWS=gcc,3.13, GOALS=); hours without T=
	@T='$(T)' ROWS='$(ROWS)' GOALS='$(GOALS)' /usr/bin/python3 -B test/matrix.py

test-fuzz: ## every parser against a fuzzer, 20 seconds each (clang; FUZZ_SECONDS=)
	@sh test/fuzz/run.sh $(FUZZ_SECONDS)
FUZZ_SECONDS ?= 20

torture: deps-test ## hostile sessions, signals at any moment, failing calls, rolls and edits under load (HOURS=1)
	@$(MAKE) --no-print-directory run-torture
run-torture: all
	@FCGIHOST=$(abspath $(PROGRAM)) SAN=$(SAN) /usr/bin/python3 -B test/torture/torture.py --hours $(HOURS)
HOURS ?= 0.1

soak: deps-test ## 10 million requests of all kinds: memory, descriptors, threads are level (REQUESTS=, MINUTES=, SITES=host)
	@$(MAKE) --no-print-directory run-soak
run-soak: all
	@FCGIHOST=$(abspath $(PROGRAM)) SAN=$(SAN) /usr/bin/python3 -B test/torture/soak.py $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SITES),--sites $(SITES))

fault-sweep: deps-test ## each library call of the host fails once, at each stage: a table; an hour (STAGES=start,end KINDS=open)
	@$(MAKE) --no-print-directory run-fault-sweep
run-fault-sweep: all
	@FCGIHOST=$(abspath $(PROGRAM)) /usr/bin/python3 -B test/torture/sweep.py --stages '$(STAGES)' --kinds '$(KINDS)'
STAGES ?=
KINDS  ?=

slow-peers: deps-test ## what others notice of 1,000 slow clients, through each front: a table (PEERS=, FRONTS=nginx,direct)
	@$(MAKE) --no-print-directory run-slow-peers
run-slow-peers: all
	@FCGIHOST=$(abspath $(PROGRAM)) /usr/bin/python3 -B test/torture/slow_peers.py --peers $(PEERS) $(if $(FRONTS),--fronts $(FRONTS))
PEERS ?= 1000

hostile-clients: deps-test ## clients that abort, stall and lie about lengths, through each front: a table (REQUESTS=, FRONTS=)
	@$(MAKE) --no-print-directory run-hostile-clients
run-hostile-clients: all
	@FCGIHOST=$(abspath $(PROGRAM)) SAN=$(SAN) /usr/bin/python3 -B test/torture/hostile_clients.py $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(FRONTS),--fronts $(FRONTS))

# What a unit test links is named by the comment above its includes ("links: gate.c record.c"); test/links finds the
# files ("test/unit/test_gate:fcgihost/protocol/gate.c"), once for all tests.
UNIT_TESTS := $(wildcard test/unit/test_*.c)
UNIT_PROGRAMS := $(patsubst %.o,%,$(call objects_of,$(UNIT_TESTS)))
# Found while the Makefile is read: a $(shell) that runs beside jobs makes GNU make 4.3 lose children.
ifneq ($(filter unit-programs run-test test-unit $(BUILD)/unit/%,$(MAKECMDGOALS)),)
UNIT_LINKS := $(or $(shell test/links $(UNIT_TESTS)),$(error test/links failed))
endif
unit_objects = $(call objects_of,$(patsubst $(1):%,%,$(filter $(1):%,$(UNIT_LINKS))))

unit-programs: $(UNIT_PROGRAMS)

.SECONDARY: $(UNIT_PROGRAMS:=.o)
.SECONDEXPANSION:
$(BUILD)/unit/%: $(BUILD)/unit/%.o $$(call unit_objects,test/unit/$$*)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -lcmocka -lfcgi -linih $(if $(filter test_py_%,$(@F)),$(PY_LDLIBS) -ldl -lm)

bench: deps-bench ## measure against uWSGI, gunicorn and mod_wsgi (make bench CASE='hello-*')
	@$(MAKE) --no-print-directory run-bench

run-bench: all $(BUILD)/bench/load
	@FCGIHOST=$(abspath $(PROGRAM)) PYTHON=$(PYTHON) /usr/bin/python3 -B test/bench/bench.py --load $(BUILD)/bench/load \
	   --case '$(CASE)' $(if $(AGAINST),--against '$(AGAINST)') --rounds $(ROUNDS) --seconds $(SECONDS) --json build/bench.json

$(BUILD)/bench/load: $(BUILD)/bench/load.o $(BUILD)/bench/wire.o
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^

##@ Upkeep

lint: deps-lint ## include rules, documents, names in comments, clang-tidy, cppcheck
	@$(MAKE) --no-print-directory run-lint

run-lint: lint-includes lint-units lint-docs lint-c lint-python

lint-includes:
	@bad=$$(grep -l 'include.*fcgi\(app\|os\)\.h' $(SOURCES) $(HEADERS) | grep -Ev '/(fastcgi|libfcgi_os)\.c$$'; \
	        grep -l 'include.*[<"]ini\.h' $(SOURCES) $(HEADERS) | grep -v '/config_file\.c$$'; \
	        grep -l 'include.*Python\.h' $(SOURCES) $(HEADERS) | grep -v '/py_[^/]*$$'); \
	 if [ -n "$$bad" ]; then echo "these files include a library that is another file's:" $$bad; exit 1; fi
	@/usr/bin/python3 -B test/lint_layers.py

lint-units:
	@/usr/bin/python3 -B test/lint_units.py

lint-docs: all
	@/usr/bin/python3 -B test/lint_docs.py $(PROGRAM)
	@/usr/bin/python3 -B test/lint_names.py

TIDY_CHECKS := -*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-not-null-terminated-result,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling
# ctuuninitvar takes an error structure that a function fills in for one that it reads.
lint-c: all
	@cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
	   --suppress=missingIncludeSystem --suppress=ctuuninitvar --library=python -D_GNU_SOURCE -Ifcgihost fcgihost
	@printf '%s\n' $(SOURCES) | xargs -P 2 -n 1 sh -c 'clang-tidy --quiet --warnings-as-errors="*" \
	   --checks="$(TIDY_CHECKS)" "$$0" -- -std=c11 -D_GNU_SOURCE -Ifcgihost -I$(BUILD) -isystem $(PY_INCLUDE) 2>/dev/null'

lint-python:
	@/usr/bin/python3 -B -m compileall -q -f python examples test .ci >/dev/null

format: ## clang-format the C files in place
	clang-format -i $(SOURCES) $(HEADERS) test/unit/*.[ch] test/bench/*.[ch] test/fuzz/*.[ch]

compdb: $(BUILD)/build_facts.h ## compile_commands.json, for editors
	@$(MAKE) --no-print-directory -nB V=1 all unit-programs $(BUILD)/bench/load | .ci/compdb >$(BUILD)/compile_commands.json
	@mv $(BUILD)/compile_commands.json .

install: all ## into DESTDIR and PREFIX
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/fcgihost
	install -d $(DESTDIR)$(PREFIX)/share/fcgihost/python/fcgihost/host
	install -m 644 python/fcgihost/*.py $(DESTDIR)$(PREFIX)/share/fcgihost/python/fcgihost
	install -m 644 python/fcgihost/host/*.py $(DESTDIR)$(PREFIX)/share/fcgihost/python/fcgihost/host
	$(PYTHON) -m compileall -q $(and $(DESTDIR),-s $(DESTDIR) -p /) $(DESTDIR)$(PREFIX)/share/fcgihost/python/fcgihost
	install -D -m 644 fcgihost.ini $(DOC)/fcgihost.ini
	install -m 644 README CHANGES LICENSE SECURITY.md $(DOC)
	install -d $(DOC)/doc
	install -m 644 doc/*.md $(DOC)/doc
	cd examples && find . -type f ! -name '*.pyc' -exec sh -c 'for file; do \
	   install -D -m $$([ -x "$$file" ] && echo 755 || echo 644) "$$file" "$(abspath $(DOC))/examples/$$file"; done' sh {} +
	$(foreach page,$(wildcard man/*.[1-8]),install -D -m 644 $(page) $(MAN)/man$(subst .,,$(suffix $(page)))/$(notdir $(page)) &&) :
	install -d $(UNITS)
	sed 's,@BINDIR@,$(PREFIX)/bin,' packaging/systemd/fcgihost@.service >$(UNITS)/fcgihost@.service
	install -m 644 packaging/systemd/fcgihost@.socket $(UNITS)
	chmod 644 $(UNITS)/fcgihost@.service
	install -D -m 644 packaging/systemd/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/fcgihost.conf
	install -D -m 644 packaging/bash-completion/fcgihost $(COMPLETION)

DOC   = $(DESTDIR)$(PREFIX)/share/doc/fcgihost
MAN   = $(DESTDIR)$(PREFIX)/share/man
UNITS = $(DESTDIR)$(PREFIX)/lib/systemd/system
COMPLETION = $(DESTDIR)$(PREFIX)/share/bash-completion/completions/fcgihost

uninstall: ## what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/fcgihost $(addprefix $(MAN)/,$(foreach page,$(wildcard man/*.[1-8]),man$(subst .,,$(suffix $(page)))/$(notdir $(page)))) \
	      $(UNITS)/fcgihost@.service $(UNITS)/fcgihost@.socket $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/fcgihost.conf $(COMPLETION)
	rm -rf $(DESTDIR)$(PREFIX)/share/fcgihost $(DOC)

.PHONY: dist deb deps-deb test-package
dist: ## a source archive of what is committed, build/fcgihost-VERSION.tar.gz
	@mkdir -p build
	@[ -z "$$(git status --porcelain)" ] || echo "dist: what is not committed is not in it"
	@git archive --prefix=fcgihost-$(VERSION)/ HEAD | gzip -9n >build/fcgihost-$(VERSION).tar.gz
	@echo build/fcgihost-$(VERSION).tar.gz

deb: ## a Debian package for this release, build/fcgihost_VERSION_ARCH.deb (make deps-deb)
	@VERSION=$(VERSION) PYTHON=$(PYTHON) MAKE='$(MAKE)' sh packaging/deb.sh

test-package: ## dist, deb and the image's steps, tried on bare roots of Debian (takes root; SUITES=)
	@GOALS=package sh test/fresh.sh $(SUITES)

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n '/^# Variables/,/^$$/s/^# \{0,1\}//p' Makefile
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

endif
