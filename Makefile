# mailchute: make, make deps, make test, make demo, make install. See README.
VERSION = 0.1
prefix = /usr/local
sbindir = $(prefix)/sbin
bindir = $(prefix)/bin
libexecdir = $(prefix)/lib/mailchute
sysconfdir = /etc
mandir = $(prefix)/share/man
spooldir = /var/spool/mailchute
rundir = /run/mailchute
MAILCHUTE_USER = mailchute
# Who mailchute-smtpd runs as.
MAILCHUTE_IN_USER = mailchute-in

# SAN=1 builds everything with AddressSanitizer and UBSan in a folder of its own.
SAN =
# V=1 shows the commands.
V =
Q = $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)' $(patsubst $(B)/%,%,$@))
B = build$(if $(SAN),-san)
CC = gcc
MUSL_CC = $(if $(SAN),,$(shell command -v musl-gcc))
WERROR =
# CLOCK_TEST=FILE: a build for tests whose clock is ahead by the seconds in that file.
CLOCK_TEST =

CPPFLAGS = -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -DMAILCHUTE_VERSION='"$(VERSION)"' \
	-DCONF_PATH='"$(sysconfdir)/mailchute/mailchute.conf"' -DSPOOL_PATH='"$(spooldir)"' \
	-DLIBEXEC_PATH='"$(libexecdir)"' -DMAILCHUTE_USER='"$(MAILCHUTE_USER)"' \
	-DMAILCHUTE_IN_USER='"$(MAILCHUTE_IN_USER)"' \
	-DSOCKET_PATH='"$(rundir)/socket"' \
	$(if $(CLOCK_TEST),-DCLOCK_TEST='"$(CLOCK_TEST)"')
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wformat=2 -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wswitch-enum \
	-Wimplicit-fallthrough=5 $(if $(WERROR),-Werror)
HARDEN = $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer,\
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -ftrivial-auto-var-init=zero) -fstack-protector-strong \
	-fstack-clash-protection -fcf-protection=full -fno-common
comma = ,
CFLAGS = -O2 -g
ALL_CFLAGS = -std=c17 $(CPPFLAGS) $(WARN) $(HARDEN) -ffunction-sections -fdata-sections $(CFLAGS)
LINK_FLAGS = -Wl,--gc-sections,-z,relro,-z,now,-z,noexecstack,--as-needed $(LDFLAGS)
PIE = -fPIE
PIE_LINK = -pie

# The layers (src/README); a test checks that none looks up.
BASE = $(wildcard src/base/*.c)
MAIL = $(wildcard src/mail/*.c)
SPOOL = $(wildcard src/spool/*.c)
SMTP = $(wildcard src/smtp/*.c)
CONF = $(wildcard src/conf/*.c)
PROG = $(filter-out %/look.c,$(wildcard src/prog/*.c))
obj = $(patsubst src/%.c,$(B)/%.o,$(1))
musl_obj = $(patsubst src/%.c,$(B)/musl/%.o,$(1))
d = $(wildcard src/$(1)/*.c)

# What each program is made of; --gc-sections drops what it does not use. A folder may hold
# two programs: then one main is left out.
MAINS = src/inject/sendmail.c src/daemon/mailchuted.c src/push/push.c src/push/route.c \
	src/serve/serve.c src/prog/look.c src/admin/mailchute.c src/listen/smtpd.c
sendmail_SRC = $(call d,inject) src/base/str.c src/base/io.c src/base/clock.c src/mail/addr.c \
	src/mail/addr_envelope.c src/mail/head.c src/mail/envelope.c src/spool/id.c src/spool/drop.c src/spool/door.c
mailchuted_SRC = $(call d,daemon) $(PROG) $(BASE) $(MAIL) $(SPOOL) $(filter-out %/conf_load.c,$(CONF))
look_SRC = src/prog/look.c $(BASE) $(MAIL) $(CONF)
push_SRC = $(filter-out %/route.c,$(call d,push)) $(PROG) $(BASE) $(MAIL) $(SMTP) $(CONF) src/spool/id.c
route_SRC = $(addprefix src/push/,route.c aliases.c maps.c message.c record.c) src/prog/job.c src/prog/fence.c $(BASE) $(MAIL) \
	$(filter-out %/conf_load.c,$(CONF)) src/spool/id.c
serve_SRC = $(call d,serve) $(PROG) $(BASE) $(MAIL) $(SPOOL)
mailchute_SRC = $(call d,admin) $(addprefix src/daemon/,desk.c guest.c submission.c verbs.c apply.c jobs.c) \
	$(filter-out %/sendmail.c,$(call d,inject)) \
	$(addprefix src/push/,aliases.c explain.c explain_text.c maps.c mending.c message.c) \
	src/listen/link.c $(SMTP) $(PROG) $(BASE) $(MAIL) $(SPOOL) $(CONF)

smtpd_SRC = $(call d,listen) $(addprefix src/inject/,sm_args.c sm_sink.c sm_socket.c) src/prog/fence.c src/prog/child.c src/prog/who.c \
	$(BASE) $(MAIL) $(SPOOL) $(SMTP) $(filter-out %/conf_load.c,$(CONF))

GNUTLS_LIBS = -lgnutls
# The sanitizers have a crypt() of their own, that calls the one they find behind them.
NO_AS_NEEDED = -Wl,--no-as-needed
CRYPT_LIBS = $(if $(SAN),$(NO_AS_NEEDED)) -lcrypt
CONFUSE_LIBS = -lconfuse
PROGRAMS = sendmail mailchuted mailchute-push mailchute-route mailchute-serve mailchute-look mailchute-smtpd mailchute

all: $(addprefix $(B)/,$(PROGRAMS))

# What everybody starts and what always sleeps need libc only: static with musl where there
# is musl-gcc (a start in a tenth of the time, a sleep in a third of the memory).
ifneq ($(MUSL_CC),)
$(B)/sendmail: $(call musl_obj,$(sendmail_SRC))
	$(call say,LD)
	$(Q)$(MUSL_CC) -static $(LINK_FLAGS) -o $@ $^
$(B)/mailchuted: $(call musl_obj,$(mailchuted_SRC))
	$(call say,LD)
	$(Q)$(MUSL_CC) -static $(LINK_FLAGS) -o $@ $^
$(B)/mailchute-route: $(call musl_obj,$(route_SRC))
	$(call say,LD)
	$(Q)$(MUSL_CC) -static $(LINK_FLAGS) -o $@ $^
$(B)/mailchute-serve: $(call musl_obj,$(serve_SRC))
	$(call say,LD)
	$(Q)$(MUSL_CC) -static $(LINK_FLAGS) -o $@ $^
else
$(B)/sendmail: $(call obj,$(sendmail_SRC))
	$(call say,LD)
	$(Q)$(CC) $(HARDEN) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^
$(B)/mailchuted: $(call obj,$(mailchuted_SRC))
	$(call say,LD)
	$(Q)$(CC) $(HARDEN) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^
$(B)/mailchute-route: $(call obj,$(route_SRC))
	$(call say,LD)
	$(Q)$(CC) $(HARDEN) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^
$(B)/mailchute-serve: $(call obj,$(serve_SRC))
	$(call say,LD)
	$(Q)$(CC) $(HARDEN) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^
endif
# The same with glibc, for tests and benchmarks.
$(B)/sendmail-glibc: $(call obj,$(sendmail_SRC))
	$(call say,LD)
	$(Q)$(CC) $(HARDEN) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^
$(B)/mailchute-look: $(call obj,$(look_SRC))
	$(call say,LD)
	$(Q)$(CC) $(HARDEN) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^ $(CONFUSE_LIBS)
$(B)/mailchute-push: $(call obj,$(push_SRC))
	$(call say,LD)
	$(Q)$(CC) $(HARDEN) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^ $(GNUTLS_LIBS)
$(B)/mailchute: $(call obj,$(mailchute_SRC))
	$(call say,LD)
	$(Q)$(CC) $(HARDEN) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^ $(CONFUSE_LIBS) $(GNUTLS_LIBS)

$(B)/mailchute-smtpd: $(call obj,$(smtpd_SRC))
	$(call say,LD)
	$(Q)$(CC) $(HARDEN) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^ $(GNUTLS_LIBS) $(CRYPT_LIBS)

# Objects know paths and flags: when those change, they are made anew.
FLAGS = $(CC) $(MUSL_CC) $(CLOCK_TEST) $(CFLAGS) $(LDFLAGS) $(SAN) $(VERSION) $(libexecdir) $(sysconfdir) $(spooldir) \
	$(rundir) $(MAILCHUTE_USER) $(MAILCHUTE_IN_USER)
$(B)/.flags: FORCE
	@mkdir -p $(B)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@

$(B)/%.o: src/%.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(PIE) -MMD -MP -c -o $@ $<
$(B)/musl/%.o: src/%.c $(B)/.flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(MUSL_CC) $(filter-out -fcf-protection=full,$(ALL_CFLAGS)) -MMD -MP -c -o $@ $<
-include $(shell find $(B) -name '*.d' 2>/dev/null)

# Unit tests: test/unit/NAME.c, one a module, each a program of its own.
UNIT = $(patsubst test/unit/%.c,$(B)/unit/%,$(wildcard test/unit/*.c))
LIB_OBJ = $(call obj,$(filter-out $(MAINS),$(wildcard src/*/*.c)))
$(B)/lib.a: $(LIB_OBJ)
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
$(B)/unit/%: test/unit/%.c $(B)/lib.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(PIE) -MMD -MP $(PIE_LINK) $(LINK_FLAGS) -o $@ $< $(B)/lib.a \
		-lcmocka $(GNUTLS_LIBS) $(CONFUSE_LIBS) $(CRYPT_LIBS)

# Fuzz targets without a fuzzer: their corpus, and mutations of it.
FUZZ = $(patsubst test/fuzz/%.c,$(B)/fuzz/%,$(filter-out %/replay.c,$(wildcard test/fuzz/*.c)))
$(B)/fuzz/%: test/fuzz/%.c test/fuzz/replay.c $(B)/lib.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(PIE) $(PIE_LINK) $(LINK_FLAGS) -o $@ $^ $(GNUTLS_LIBS) $(CONFUSE_LIBS) $(CRYPT_LIBS)

# Measuring programs in C.
$(B)/bench/%: test/bench/%.c $(B)/lib.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(PIE) -MMD -MP $(PIE_LINK) $(LINK_FLAGS) -o $@ $< $(B)/lib.a \
		$(GNUTLS_LIBS) $(CONFUSE_LIBS) $(CRYPT_LIBS)

tests: all $(B)/sendmail-glibc $(UNIT) $(FUZZ)

# People say "make test" and "make demo", and wait: all processors build, unless they said -j.
PARALLEL = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
test:
	+@$(PARALLEL) tests
	@B=$(B) test/run

# Only the quick ones: unit tests, and the fuzz corpora.
check: $(UNIT) $(FUZZ) $(B)/mailchute-route
	@B=$(B) test/run unit fuzz

demo:
	+@$(PARALLEL) all
	@B=$(B) test/demo

# The installed system in a debootstrap folder against a real Postfix; as root. ROOT=FOLDER.
ROOT =
test-installed:
	test/installed $(ROOT)

# What Debian's cron gives to sendmail is still what test/data/cron has; as root, 70 seconds.
test-cron:
	test/cron

# Fuzz targets (clang, libFuzzer): test/fuzz/NAME.c; FUZZ_SECONDS each.
FUZZ_SECONDS = 60
fuzz:
	test/fuzz/run $(FUZZ_SECONDS)

# The header's engine and mend on generated input, under sanitizers: INPUTS of them from SEED.
INPUTS = 1000000
SEED = 1
million:
	@$(MAKE) SAN=1 B=$(B)-million $(B)-million/million
	$(B)-million/million $(INPUTS) $(SEED)
$(B)/million: test/million/million.c $(B)/lib.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(PIE) -MMD -MP $(PIE_LINK) $(LINK_FLAGS) -o $@ $< $(B)/lib.a \
		$(GNUTLS_LIBS) $(CONFUSE_LIBS) $(CRYPT_LIBS)

# Side by side with nullmailer; on a quiet machine, as root.
BENCH_ROUNDS = 5
BENCH_MESSAGES = 100
BENCH_SECONDS = 60
bench: all $(B)/sendmail-glibc $(B)/bench/compose
	@B=$(B) test/bench/inject $(BENCH_ROUNDS) $(BENCH_MESSAGES)
	@B=$(B) test/bench/idle $(BENCH_SECONDS)
	@$(B)/bench/compose

# A hostile user for TROUBLE_SECONDS, 10,000 refused messages, 500,000 for a dead route; root.
TROUBLE_SECONDS = 600
trouble: all
	@B=$(B) test/bench/trouble $(TROUBLE_SECONDS)

# The listener side by side with OpenSMTPD, sendmail, Exim and Postfix; root.
LISTEN_MESSAGES = 300
bench-listen: all $(B)/bench/blast
	@B=$(B) test/bench/listen $(BENCH_ROUNDS) $(LISTEN_MESSAGES)

# A full queue to the smart host, side by side with nullmailer and Postfix's client; root.
DRAIN_ROUNDS = 3
bench-drain: all $(B)/bench/sink $(B)/bench/delay $(B)/bench/blast
	@B=$(B) test/bench/drain $(DRAIN_ROUNDS)

# Long streams to a real Postfix and Exim that refuse in between, and servers that die; root.
MIX_MESSAGES = 5000
bench-mix: all $(B)/bench/sink $(B)/bench/delay
	@B=$(B) test/bench/mix $(MIX_MESSAGES)

# 2,000 slow connections for SLOW_SECONDS, and a printer beside them.
SLOW_SECONDS = 60
slow: all
	@B=$(B) SLOW_CONNECTIONS=2000 SLOW_SECONDS=$(SLOW_SECONDS) test/e2e/t_slow

# All short strings over CR LF . x NUL SP as bodies through the listener; SMUGGLE_STEP: each
# so many-th.
SMUGGLE_STEP = 1
smuggle: all
	@B=$(B) test/e2e/t_smuggle all $(SMUGGLE_STEP)

# A session with a hostile client: FUZZ_RUNS times in each of FUZZ_JOBS processes.
FUZZ_RUNS = 5000000
FUZZ_JOBS = 2
fuzz-session:
	FUZZ_RUNS=$(FUZZ_RUNS) FUZZ_QUICK=$(FUZZ_JOBS) FUZZ_MAX=256 test/fuzz/run 0 server

deps:
	test/deps

install: all
	prefix=$(prefix) sbindir=$(sbindir) bindir=$(bindir) libexecdir=$(libexecdir) \
	sysconfdir=$(sysconfdir) mandir=$(mandir) spooldir=$(spooldir) user=$(MAILCHUTE_USER) \
	in_user=$(MAILCHUTE_IN_USER) B=$(B) etc/install "$(DESTDIR)"
uninstall:
	prefix=$(prefix) sbindir=$(sbindir) bindir=$(bindir) libexecdir=$(libexecdir) \
	sysconfdir=$(sysconfdir) mandir=$(mandir) spooldir=$(spooldir) user=$(MAILCHUTE_USER) \
	in_user=$(MAILCHUTE_IN_USER) B=$(B) etc/uninstall "$(DESTDIR)"

format:
	clang-format -i $$(git ls-files 'src/*.[ch]' 'test/*.[ch]')
format-check:
	clang-format --dry-run -Werror $$(git ls-files 'src/*.[ch]' 'test/*.[ch]')
tidy:
	clang-tidy --quiet $$(git ls-files 'src/*.c') -- -std=c17 $(CPPFLAGS)

clean:
	rm -rf build build-san build-fuzz build-million

FORCE:
.PHONY: FORCE all tests test check test-installed test-cron demo fuzz fuzz-session bench bench-drain bench-listen bench-mix slow smuggle million trouble deps install uninstall format format-check tidy clean
.DELETE_ON_ERROR:
