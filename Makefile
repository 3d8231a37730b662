# SPDX-License-Identifier: GPL-2.0
#
# The commands. Each is a program in scripts/, which has --help; this file only
# passes the variables on.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CONFIG ?= small
# A flag is set by 1 and unset by 0 or nothing
flag = $(if $(filter-out 0 1,$($(1))),$(error $(1)=$($(1)): it takes 1 or 0),$(if $(filter 1,$($(1))),$(2)))

export LINUX

.PHONY: help
help:
	@echo 'For everybody:'
	@echo '  make demo            build the kernel, boot it in QEMU, swap real data to zram'
	@echo '                       and through zswap, and show what was gained'
	@echo '  make demo BASE=1     the same on the kernel without the series'
	@echo '  make demo COMPARE=1  both, side by side'
	@echo '  make check           every test (half an hour or more on 2 CPUs)'
	@echo '  make package         a Debian package of the kernel, to install (DRIVERS=loaded:'
	@echo '                       only those that this machine uses, in minutes)'
	@echo '  make boot            an interactive shell in the guest (BASE=1 CONFIG=small)'
	@echo 'For kernel developers:'
	@echo '  make tree            build/linux: the base in git, each patch a commit, each'
	@echo '                       topic a branch (FORCE=1 drops work that is not exported)'
	@echo '  make export          write patches/ from the branches of build/linux'
	@echo '  make build           build a kernel (CONFIG=small, debug, ...; BASE=1)'
	@echo '  make lint            the static checks'
	@echo '  make check-full      make check, and what takes longer than that may'
	@echo '  make bench           every measurement of docs/benchmarks.md: hours, on an idle'
	@echo '                       machine (each is a program of its own, scripts/bench*)'
	@echo '  make clean           empty build/ (the work in build/linux as well; refuses'
	@echo '                       to throw away what is not exported, unless FORCE=1)'
	@echo 'LINUX=/path/to/tree takes a Linux 6.1 tree of your own as the base.'

.PHONY: demo
demo:
	@scripts/demo $(call flag,BASE,--base) $(call flag,COMPARE,--compare)

.PHONY: check
check:
	@scripts/check

.PHONY: check-full
check-full:
	@scripts/check --full

.PHONY: package
package: tree
	@scripts/deps package
	@scripts/package $(if $(DRIVERS),--drivers "$(DRIVERS)")

.PHONY: deps
deps:
	@scripts/deps build guest

.PHONY: tree
tree: deps
	@scripts/tree $(call flag,FORCE,--force)

.PHONY: export
export:
	@scripts/export

.PHONY: build
build: tree
	@scripts/build $(call flag,BASE,--base) $(CONFIG)

.PHONY: boot
boot: build
	@scripts/initramfs
	@scripts/boot $(call flag,BASE,--base) --config $(CONFIG) --shell

.PHONY: lint
lint: tree
	@scripts/deps lint
	@scripts/lint

.PHONY: bench
bench: deps
	@scripts/deps bench
	@scripts/bench
	@scripts/bench-native
	@scripts/bench-zswap
	@scripts/bench-guest --rounds 3 zram
	@scripts/bench-guest --rounds 3 mobility
	@scripts/bench-plot

.PHONY: clean
clean:
	@scripts/clean $(call flag,FORCE,--force)
