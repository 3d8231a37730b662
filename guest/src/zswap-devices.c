// SPDX-License-Identifier: GPL-2.0
/*
 * zswap-devices: writeback to each kind of swap device
 *
 *	zswap-devices DISK KIND...
 *
 * KIND is partition, file (on ext4), loop (a loop device over a file on ext4),
 * loop-direct (the same with direct I/O), brd (a RAM disk, which completes before
 * it returns) or zram (which takes single pages, and completes before it returns).
 * For each, more pages than zswap's pool can hold are swapped out, and read back;
 * on those that take no memory there is pressure from everywhere as well.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <linux/blkpg.h>
#include <linux/loop.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "zswap.h"

#define HARD	1200
#define MOUNT	"/tmp/mnt"
#define FILE_	MOUNT "/swap"
#define BYTES	(192L << 20)

static const char *disk;
static char device[64];

static unsigned long pool_pages(void)
{
	return total_pages() * PAGE * param_value("max_pool_percent") / 100 / (HARD + 100);
}

/* ---- a file system: ext4 with extents, which busybox cannot make by itself ---- */

static void file_make(void)
{
	unsigned char super[1024];
	static unsigned char zero[1 << 20];
	char command[200];
	int fd;

	snprintf(command, sizeof(command), "mke2fs -b 4096 %s >/dev/null", disk);
	if (system(command))
		ktap_bail("mke2fs");
	fd = open(disk, O_RDWR | O_CLOEXEC);
	if (fd < 0 || pread(fd, super, sizeof(super), 1024) != sizeof(super))
		ktap_bail("%s", disk);
	super[0x60] |= 0x40;	/* extents */
	if (pwrite(fd, super, sizeof(super), 1024) != sizeof(super) || fsync(fd))
		ktap_bail("%s", disk);
	close(fd);
	mkdir(MOUNT, 0700);
	if (mount(disk, MOUNT, "ext4", 0, ""))
		ktap_bail("mounting ext4");
	fd = open(FILE_, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		ktap_bail(FILE_);
	for (long done = 0; done < BYTES; done += sizeof(zero))
		if (write(fd, zero, sizeof(zero)) != sizeof(zero))
			ktap_bail("writing " FILE_);
	if (fsync(fd) || close(fd))
		ktap_bail(FILE_);
	must_put("/proc/sys/vm/drop_caches", "1");
	strcpy(device, FILE_);
}

static void file_gone(void)
{
	unlink(FILE_);
	if (umount(MOUNT))
		ktap_bail("umount");
}

static int loop_fd = -1, loop_file = -1;

static void loop_make(int direct)
{
	struct loop_config config = { .block_size = 4096 };

	file_make();
	loop_fd = open("/dev/loop0", O_RDWR | O_CLOEXEC);
	loop_file = open(FILE_, O_RDWR | O_CLOEXEC);
	config.fd = loop_file;
	config.info.lo_flags = direct ? LO_FLAGS_DIRECT_IO : 0;
	if (loop_fd < 0 || loop_file < 0 || ioctl(loop_fd, LOOP_CONFIGURE, &config))
		ktap_bail("loop device");
	strcpy(device, "/dev/loop0");
}

static void loop_gone(void)
{
	if (ioctl(loop_fd, LOOP_CLR_FD, 0))
		ktap_bail("loop device");
	close(loop_fd);
	close(loop_file);
	file_gone();
}

/* Adds the disk's one partition, or deletes it */
static void partition(int op)
{
	struct blkpg_partition part = {
		.start = 1 << 20, .length = BYTES, .pno = 1,
	};
	struct blkpg_ioctl_arg arg = {
		.op = op, .datalen = sizeof(part), .data = &part,
	};
	int fd = open(disk, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BLKPG, &arg))
		ktap_bail("partition");
	close(fd);
}

static void partition_make(void)
{
	partition(BLKPG_ADD_PARTITION);
	snprintf(device, sizeof(device), "%s1", disk);
}

static void partition_gone(void)
{
	partition(BLKPG_DEL_PARTITION);
}

static void *check_thread(void *set)
{
	return (void *)set_wrong(set, 0, ((struct set *)set)->pages);
}

/*
 * Several threads fault on the same pages at once (a device that completes before
 * it returns has its pages read past the swap cache, by each of them), and then
 * several processes that share the pages.
 */
static unsigned long faults_at_once(struct set *set)
{
	unsigned long wrong = 0;
	pthread_t threads[3];
	pid_t pids[3];
	void *of_one;
	int status;

	for (int round = 0; round < 3; round++) {
		page_out(set, 0, set->pages);
		for (int i = 0; i < 3; i++)
			if (pthread_create(&threads[i], NULL, check_thread, set))
				ktap_bail("no thread");
		for (int i = 0; i < 3; i++) {
			pthread_join(threads[i], &of_one);
			wrong += (unsigned long)of_one;
		}
	}

	page_out(set, 0, set->pages);
	for (int i = 0; i < 3; i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(set_wrong(set, 0, set->pages) != 0);
	}
	wrong += set_wrong(set, 0, set->pages);
	for (int i = 0; i < 3; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] || status)
			wrong++;
	return wrong;
}

static void try_device(const char *kind)
{
	int memory = !strcmp(kind, "brd") || !strcmp(kind, "zram");
	long long back;
	unsigned long wrong = 0;
	struct set set, big;
	double began = now();

	if (!strcmp(kind, "partition")) {
		partition_make();
	} else if (!strcmp(kind, "file")) {
		file_make();
	} else if (!strncmp(kind, "loop", 4)) {
		loop_make(!strcmp(kind, "loop-direct"));
	} else if (!strcmp(kind, "brd")) {
		strcpy(device, "/dev/ram0");
	} else if (!strcmp(kind, "zram")) {
		must_put("/sys/block/zram0/disksize", "64M");
		strcpy(device, "/dev/zram0");
	} else {
		ktap_bail("no such kind: %s", kind);
	}
	zswap_set_up("zsmalloc", "lzo", 4);
	swap_on(device);
	back = stat_of("written_back_pages");

	set = set_new(pool_pages() * 2, 1, HARD);
	for (int round = 0; round < 2; round++) {
		set_write(&set, 0, set.pages);
		page_out(&set, 0, set.pages);
		wrong += set_wrong(&set, 0, set.pages);
	}
	wrong += faults_at_once(&set);
	if (!memory) {
		/* and as it comes: from everybody who needs memory */
		big = set_new(free_pages() + pool_pages() / 2, 2, HARD);
		set_write(&big, 0, big.pages);
		wrong += set_wrong(&big, 0, big.pages);
		set_free(&big);
	}
	wrong += set_wrong(&set, 0, set.pages);
	back = stat_of("written_back_pages") - back;
	ktap_note("%s: %lld written back, %lld inversions, %.1f s", kind, back,
		  stat_of("age_inversions"), now() - began);
	ktap_ok(back > (long long)pool_pages() / 4, "%s: the oldest pages are written back", kind);
	ktap_ok(wrong == 0, "%s: every byte is right", kind);
	/* swap off with pages still in it */
	page_out(&set, 0, set.pages);
	if (swapoff(device))
		ktap_bail("swapoff");
	ktap_ok(set_right(&set), "%s: every byte is right when swap is off", kind);
	set_free(&set);
	ktap_ok(all_gone(), "%s: nothing stays when swap is off", kind);

	if (!strcmp(kind, "partition"))
		partition_gone();
	else if (!strcmp(kind, "file"))
		file_gone();
	else if (!strncmp(kind, "loop", 4))
		loop_gone();
	else if (!strcmp(kind, "zram"))
		must_put("/sys/block/zram0/reset", "1");
}

int main(int argc, char **argv)
{
	ktap_usage(argc, argv, argc >= 3, "zswap-devices DISK KIND...");
	disk = argv[1];
	ktap_plan(4 * (argc - 2));
	for (int i = 2; i < argc; i++)
		try_device(argv[i]);
	return ktap_end();
}
