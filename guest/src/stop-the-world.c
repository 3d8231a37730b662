// SPDX-License-Identifier: GPL-2.0
/*
 * stop-the-world: let nothing else run on any processor, for ever
 *
 * For the harness's own test: a guest in which not even the first process runs.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	struct sched_param param = { .sched_priority = 90 };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	for (long cpu = cpus - 1; cpu >= 0; cpu--) {
		if (cpu && fork())
			continue;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set) ||
		    sched_setscheduler(0, SCHED_FIFO, &param)) {
			perror("stop-the-world");
			return 1;
		}
		for (;;)
			;
	}
	return 1;
}
