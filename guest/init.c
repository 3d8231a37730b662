// SPDX-License-Identifier: GPL-2.0
/*
 * init: the first process of a guest
 *
 * Mounts what a Linux system has mounted, runs one test (zmem.test=NAME on the
 * kernel's command line) with its standard output on the verdict channel, adds
 * how it ended and what the kernel thinks of itself, and powers off:
 *
 *	# exit STATUS		128 + N if signal N killed the test, 124 if its
 *				time was up, 127 if it could not be started
 *	# tainted NUMBER
 *	# kmemleak COUNT	where the kernel has it; "off" if it had no memory
 *				left for itself, and has seen nothing since
 *	# end
 *
 * The verdict channel is the virtio-serial port zmem.verdict. Without one the
 * same lines go to the console, each after "VERDICT: ".
 *
 *	zmem.test=NAME		run /tests/NAME
 *	zmem.time=SECONDS	after so much uptime say on the console where every
 *				task is blocked, and end the test
 *	zmem.port=DEVICE	the verdict goes to this serial line
 *	zmem.factor=N		how much slower than the small kernel this one is;
 *				tests find it in $ZMEM_FACTOR
 *	zmem.leaks=FUNCTION	what this one has allocated, or another one for it, may be
 *				lost
 *	zmem.shell=1		no test: a shell on the serial line
 *	zmem.term=, zmem.size=	its terminal's type, and ROWSxCOLUMNS
 *	zmem.probe=1		say that user space runs, and power off
 *
 * Modules of the kernel that are in /modules it loads first.
 *
 * It has to outlive whatever the test does to the machine: its memory is locked
 * and the out-of-memory killer passes it by.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define PORT_NAME	"zmem.verdict"
#define PORTS		"/sys/class/virtio-ports"

static char cmdline[4096];
static int console = -1;
static int verdict = -1;
static pthread_t relay_thread;
static int relay_from = -1;

static void say(int fd, const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (len >= (int)sizeof(buf))
		len = sizeof(buf) - 1;
	for (char *p = buf; len > 0;) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		p += n;
		len -= n;
	}
}

/* Returns how many bytes of @path are in @buf, which becomes a string, or -1. */
static ssize_t slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	buf[0] = 0;
	if (fd < 0)
		return -1;
	len = read(fd, buf, size - 1);
	close(fd);
	if (len < 0)
		return -1;
	buf[len] = 0;
	return len;
}

static int spit(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -1;
	len = write(fd, text, strlen(text));
	close(fd);
	return len < 0 ? -1 : 0;
}

/* The value of @key on the kernel's command line, the last one, or NULL */
static char *option(const char *key)
{
	static char copy[sizeof(cmdline)];
	static const char blanks[] = "\n\t ";
	char *word, *save, *value = NULL;
	size_t len = strlen(key);

	strcpy(copy, cmdline);
	for (word = strtok_r(copy, blanks, &save); word; word = strtok_r(NULL, blanks, &save))
		if (!strncmp(word, key, len) && word[len] == '=')
			value = word + len + 1;
	return value ? strdup(value) : NULL;
}

static void make_mount(const char *type, const char *dir, unsigned long flags, const char *data)
{
	mkdir(dir, 0755);
	/* what this kernel does not have is the test's business */
	if (mount(type, dir, type, flags, data) &&
	    errno != ENODEV && errno != EBUSY && errno != ENOENT)
		say(console, "zmem-init: cannot mount %s on %s: %s\n", type, dir, strerror(errno));
}

static double uptime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void nap(double seconds)
{
	struct timespec ts = {
		.tv_sec = (time_t)seconds,
		.tv_nsec = (long)((seconds - (time_t)seconds) * 1e9),
	};

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	/* kernels without ACPI cannot power off; QEMU is told to end at a reset */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

/*
 * Load the kernel's modules that are in /modules, in the order of their names: a
 * kernel for tests has all built in, one that is packaged for users has not.
 */
static void load_modules(void)
{
	struct dirent **names;
	char path[300];
	int count, fd;

	count = scandir("/modules", &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "/modules/%s", names[i]->d_name);
		if (names[i]->d_name[0] == '.')
			continue;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			say(console, "zmem-init: cannot load %s: %s\n", path, strerror(errno));
		close(fd);
		free(names[i]);
	}
}

/* ---- the verdict channel ------------------------------------------------- */

static int open_port(void)
{
	char path[300], name[64];
	struct dirent *entry;
	int fd = -1;
	DIR *dir;

	dir = opendir(PORTS);
	if (!dir)
		return -1;
	while (fd < 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), PORTS "/%s/name", entry->d_name);
		if (slurp(path, name, sizeof(name)) <= 0)
			continue;
		name[strcspn(name, "\n")] = 0;
		if (strcmp(name, PORT_NAME))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

static void *relay(void *unused)
{
	FILE *from = fdopen(relay_from, "r");
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	(void)unused;
	while (from && (len = getline(&line, &size, from)) > 0)
		say(console, "VERDICT: %.400s%s", line, line[len - 1] == '\n' ? "" : "\n");
	return NULL;
}

static int open_line(const char *path)
{
	struct termios raw;
	int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0 && !tcgetattr(fd, &raw)) {
		cfmakeraw(&raw);
		tcsetattr(fd, TCSANOW, &raw);
	}
	return fd;
}

static void open_verdict(void)
{
	char *line = option("zmem.port");
	int fds[2];

	if (line)
		verdict = open_line(line);

	/* the port is announced by the host some time after the device is found */
	for (int i = 0; i < 150 && verdict < 0; i++) {
		verdict = open_port();
		if (verdict < 0) {
			if (i >= 20 && access(PORTS, F_OK))
				break;
			nap(0.02);
		}
	}
	if (verdict >= 0)
		return;

	say(console, "zmem-init: no port " PORT_NAME "; the verdict goes to the console\n");
	if (pipe2(fds, O_CLOEXEC)) {
		verdict = console;
		return;
	}
	relay_from = fds[0];
	verdict = fds[1];
	if (pthread_create(&relay_thread, NULL, relay, NULL)) {
		relay_from = -1;
		verdict = console;
	}
}

static void close_verdict(void)
{
	if (verdict == console)
		return;
	tcdrain(verdict);
	close(verdict);
	if (relay_from >= 0)
		pthread_join(relay_thread, NULL);
}

/* ---- the test ------------------------------------------------------------ */

/* What a child must not inherit from the first process, undone */
static void become_ordinary(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	spit("/proc/self/oom_score_adj", "0");
	setsid();
}

static void __attribute__((noreturn)) exec_test(const char *name)
{
	char path[300];
	int null = open("/dev/null", O_RDONLY);

	become_ordinary();
	dup2(null, 0);
	dup2(verdict, 1);
	dup2(console, 2);
	snprintf(path, sizeof(path), "/tests/%s", name);
	if (!chdir("/tmp"))
		execl(path, path, (char *)NULL);
	say(2, "zmem-init: cannot start %s: %s\n", path, strerror(errno));
	_exit(127);
}

/*
 * wait_for - reap children until @pid has ended
 *
 * Returns true and its wait status, or false if it has not at uptime @deadline
 * (0: no deadline).
 */
static int wait_for(pid_t pid, double deadline, int *status)
{
	sigset_t chld;
	int st;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	for (;;) {
		struct timespec ts = { .tv_sec = 1 };
		pid_t got;

		while ((got = waitpid(-1, &st, WNOHANG)) > 0) {
			if (got != pid)
				continue;
			*status = st;
			return 1;
		}
		if (deadline > 0) {
			double left = deadline - uptime();

			if (left <= 0)
				return 0;
			if (left < 1) {
				ts.tv_sec = 0;
				ts.tv_nsec = (long)(left * 1e9);
			}
		}
		sigtimedwait(&chld, NULL, &ts);
	}
}

/* On the console: who is there, in which state, and where in the kernel */
static void show_processes(void)
{
	char path[300], buf[2048], *state;
	struct dirent *entry;
	DIR *dir;

	dir = opendir("/proc");
	while (dir && (entry = readdir(dir))) {
		if (atoi(entry->d_name) <= 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
		if (slurp(path, buf, sizeof(buf)) <= 0)
			continue;	/* a thread of the kernel */
		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		slurp(path, buf, sizeof(buf));
		state = strrchr(buf, ')');
		if (!state)
			continue;
		say(console, "zmem-init: %.*s\n", (int)(state + 3 - buf), buf);
		snprintf(path, sizeof(path), "/proc/%s/stack", entry->d_name);
		slurp(path, buf, sizeof(buf));
		say(console, "%.500s", buf);
	}
	if (dir)
		closedir(dir);
}

static void time_is_up(const char *name, double limit)
{
	say(verdict, "\n# time is up: %s was not done after %g s\n", name, limit);
	say(console, "\nzmem-init: time is up; blocked tasks, and what the processors do:\n");
	show_processes();
	/* the kernel prints past what is still on its way, and through its middle */
	tcdrain(console);
	spit("/proc/sysrq-trigger", "w");
	spit("/proc/sysrq-trigger", "l");
	say(console, "zmem-init: that was all\n");
}

/* Wait until no child is left, but no longer than @deadline. */
static void reap_all(double deadline)
{
	while (uptime() < deadline) {
		pid_t got = waitpid(-1, NULL, WNOHANG);

		if (got < 0)
			return;
		if (!got)
			nap(0.005);
	}
}

static void run_test(const char *name, double limit)
{
	int status = 0, ended, code;
	pid_t pid;

	say(console, "zmem-init: starting %s\n", name);
	pid = fork();
	if (!pid)
		exec_test(name);
	if (pid < 0) {
		say(console, "zmem-init: cannot fork: %s\n", strerror(errno));
		say(verdict, "# exit 127\n");
		return;
	}
	ended = wait_for(pid, limit, &status);
	if (!ended)
		time_is_up(name, limit);
	/* neither it nor what it left running may print after this */
	kill(-1, SIGKILL);
	reap_all(uptime() + 3);
	if (!ended) {
		code = 124;
		if (!kill(pid, 0))
			say(console, "zmem-init: %s cannot be killed\n", name);
	} else if (WIFSIGNALED(status)) {
		code = 128 + WTERMSIG(status);
		say(verdict, "\n# killed by signal %d (%s)\n",
		    WTERMSIG(status), strsignal(WTERMSIG(status)));
	} else {
		code = WEXITSTATUS(status);
	}
	/* the test may have left its last line open */
	say(verdict, "\n# exit %d\n", code);
	say(console, "zmem-init: %s ended after %.1f s of uptime\n", name, uptime());
}

/* ---- what the kernel thinks of itself ------------------------------------ */

static const char kmemleak[] = "/sys/kernel/debug/kmemleak";

/*
 * By itself kmemleak scans after a minute. Where both CPUs are busy that takes so
 * long, within an RCU read-side critical section, that RCU reports a stall. It is
 * told to scan when the test is over.
 */
static void no_scans_meanwhile(void)
{
	if (!access(kmemleak, F_OK) && spit(kmemleak, "scan=off"))
		say(console, "zmem-init: kmemleak goes on scanning: %s\n", strerror(errno));
}

/* Shows the objects that nobody refers to, without those that @leaks has lost; their number */
static int show_unreferenced(FILE *f, const char *leaks)
{
	char *line = NULL, text[4096] = "";
	int count = 0, known = 0;
	size_t size = 0, used = 0;
	int more;

	do {
		more = getline(&line, &size, f) > 0;
		if (used && (!more || !strncmp(line, "unreferenced object", 19))) {
			count += !known;
			if (!known)
				dprintf(console, "%s", text);
			used = 0;
			known = 0;
		}
		if (more && used < sizeof(text))
			used += snprintf(text + used, sizeof(text) - used, "%.400s", line);
		if (more && leaks && strstr(line, leaks))
			known = 1;
	} while (more);
	free(line);
	return count;
}

static void report_kmemleak(void)
{
	int count;
	FILE *f;

	if (access(kmemleak, F_OK))
		return;
	/*
	 * What is reported is older than five seconds and had the same contents
	 * in two scans.
	 */
	if (spit(kmemleak, "scan") && errno == EPERM) {
		say(verdict, "# kmemleak off\n");
		return;
	}
	nap(5.2);
	spit(kmemleak, "scan");
	f = fopen(kmemleak, "re");
	if (!f) {
		say(verdict, "# kmemleak could not be read: %s\n", strerror(errno));
		return;
	}
	count = show_unreferenced(f, option("zmem.leaks"));
	fclose(f);
	say(verdict, "# kmemleak %d\n", count);
}

static void report_taint(void)
{
	char buf[32];

	if (slurp("/proc/sys/kernel/tainted", buf, sizeof(buf)) > 0)
		say(verdict, "# tainted %s", buf);
}

/* ---- the shell ----------------------------------------------------------- */

/*
 * Lines that begin with + are for the series alone: a user of the base, or of
 * another kernel, does not find what they are about.
 */
static void greet(void)
{
	int series = !access("/sys/module/zswap/parameters/max_writebacks", F_OK);
	char greeting[4096];
	struct utsname name;

	if (slurp("/greeting", greeting, sizeof(greeting)) <= 0 || uname(&name))
		return;
	say(1, "\033[2J\033[HLinux %s%s. Ctrl-A x ends QEMU, `exit` powers off.\n",
	    name.release, series ? " with the series applied" : "");
	for (char *p = greeting; *p;) {
		size_t len = strcspn(p, "\n");
		int ours = *p == '+';

		if (!ours || series)
			say(1, "%.*s\n", (int)len - ours, p + ours);
		p += len + (p[len] == '\n');
	}
}

static void run_shell(void)
{
	char *term = option("zmem.term"), *rows_cols = option("zmem.size");
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	int status;
	pid_t pid;

	if (rows_cols)
		sscanf(rows_cols, "%hux%hu", &size.ws_row, &size.ws_col);
	if (!size.ws_row || !size.ws_col) {
		size.ws_row = 24;
		size.ws_col = 80;
	}
	setenv("TERM", term && *term ? term : "vt100", 1);
	setenv("PS1", "zmem:\\w\\$ ", 1);
	setenv("HOME", "/root", 1);

	pid = fork();
	if (!pid) {
		int tty;

		become_ordinary();
		tty = open("/dev/ttyS0", O_RDWR);
		if (tty < 0)
			tty = open("/dev/console", O_RDWR);
		ioctl(tty, TIOCSCTTY, 1);
		ioctl(tty, TIOCSWINSZ, &size);
		dup2(tty, 0);
		dup2(tty, 1);
		dup2(tty, 2);
		if (tty > 2)
			close(tty);
		greet();
		if (!chdir("/root"))
			execl("/bin/sh", "sh", (char *)NULL);
		say(2, "zmem-init: cannot start a shell: %s\n", strerror(errno));
		_exit(127);
	}
	if (pid > 0)
		wait_for(pid, 0, &status);
	kill(-1, SIGTERM);
	nap(0.1);
}

/* -------------------------------------------------------------------------- */

int main(void)
{
	char *name, *limit, *factor;
	sigset_t all;

	/* reaping and deadlines go through sigtimedwait(); nothing interrupts */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	umask(022);

	make_mount("devtmpfs", "/dev", MS_NOSUID, NULL);
	console = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (console >= 0) {
		dup2(console, 0);
		dup2(console, 1);
		dup2(console, 2);
	} else {
		console = 2;
	}
	if (getpid() != 1) {
		say(2, "init: this is for process 1 of a guest\n");
		return 2;
	}
	make_mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	slurp("/proc/cmdline", cmdline, sizeof(cmdline));
	if (option("zmem.probe")) {
		say(console, "zmem-init: user space runs\n");
		power_off();
	}
	make_mount("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	make_mount("debugfs", "/sys/kernel/debug", 0, NULL);
	make_mount("cgroup2", "/sys/fs/cgroup", 0, NULL);
	make_mount("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
	make_mount("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755");
	make_mount("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
	if (symlink("/proc/self/fd", "/dev/fd") || symlink("/proc/self/fd/0", "/dev/stdin") ||
	    symlink("/proc/self/fd/1", "/dev/stdout") || symlink("/proc/self/fd/2", "/dev/stderr"))
		say(console, "zmem-init: cannot make /dev/fd: %s\n", strerror(errno));

	load_modules();
	spit("/proc/self/oom_score_adj", "-1000");
	mlockall(MCL_CURRENT | MCL_FUTURE);

	clearenv();
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/tmp", 1);
	setenv("LC_ALL", "C", 1);
	factor = option("zmem.factor");
	setenv("ZMEM_FACTOR", factor ? factor : "1", 1);

	name = option("zmem.test");
	if (option("zmem.shell")) {
		run_shell();
	} else if (!name || !*name || strchr(name, '/')) {
		say(console, "zmem-init: no zmem.test=NAME on the kernel's command line\n");
	} else {
		limit = option("zmem.time");
		open_verdict();
		no_scans_meanwhile();
		run_test(name, limit ? atof(limit) : 0);
		report_kmemleak();
		report_taint();
		say(verdict, "# end\n");
		close_verdict();
	}
	power_off();
}
