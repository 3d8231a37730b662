/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KTAP for the guest's C programs
 *
 *	ktap_plan(2);
 *	ktap_ok(n == 3, "three pages, there are %d", n);
 *	if (!have_knob)
 *		ktap_skip("no knob", "the other case");
 *	...
 *	return ktap_end();
 *
 * Every line is on its way to the host when the call returns, so what was said
 * before a crash is not lost. Only one thread may report.
 */
#ifndef KTAP_H
#define KTAP_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ktap_number, ktap_failed;

/* A diagnostic line */
__attribute__((format(printf, 1, 2), unused))
static void ktap_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("# ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
	va_end(ap);
}

/*
 * A program's arguments: shows how it is used and ends it, if that is what was asked
 * for, or they are not @right.
 */
__attribute__((unused))
static void ktap_usage(int argc, char **argv, int right, const char *usage)
{
	if (argc == 2 && !strcmp(argv[1], "--help")) {
		printf("usage: %s\n", usage);
		exit(0);
	}
	if (!right) {
		fprintf(stderr, "usage: %s\n", usage);
		exit(2);
	}
}

__attribute__((unused))
static void ktap_plan(int cases)
{
	printf("KTAP version 1\n1..%d\n", cases);
	fflush(stdout);
}

/* One case; returns @ok. Its name follows in printf's manner. */
__attribute__((format(printf, 2, 3), unused))
static int ktap_ok(int ok, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%s %d - ", ok ? "ok" : "not ok", ++ktap_number);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
	va_end(ap);
	if (!ok)
		ktap_failed++;
	return ok;
}

/* One case that was not run, and why. guest/skips says which may be skipped. */
__attribute__((format(printf, 2, 3), unused))
static void ktap_skip(const char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("ok %d - ", ++ktap_number);
	vprintf(fmt, ap);
	printf(" # SKIP %s\n", why);
	fflush(stdout);
	va_end(ap);
}

/* The test cannot go on: end it. */
__attribute__((format(printf, 1, 2), noreturn, unused))
static void ktap_bail(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	fputs("Bail out! ", stdout);
	vprintf(fmt, ap);
	printf(" (errno: %s)\n", strerror(err));
	fflush(stdout);
	va_end(ap);
	exit(1);
}

/* The exit status: failed cases speak for themselves */
__attribute__((unused))
static int ktap_end(void)
{
	fflush(stdout);
	return ferror(stdout) ? 1 : 0;
}

#endif /* KTAP_H */
