# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
#
# Debian's own programs, for guest tests (data: debian; scripts/debian):
#
#	. /lib/debian.sh
#	debian_mount /dev/vdb	the disk with them, below /debian
#	debian PROGRAM ARG...	runs one of them, with that as its root

debian_mount() {
	mkdir -p /debian
	mount -t ext4 -o ro "$1" /debian || ktap_bail "cannot mount $1"
	for dir in /dev /dev/shm /proc /sys /sys/kernel/debug /run /tmp; do
		mount -o bind "$dir" "/debian$dir" || ktap_bail "cannot mount $dir"
	done
	# what is configured there
	mkdir -p /tmp/systemd
	mount -o bind /tmp/systemd /debian/etc/systemd || ktap_bail 'cannot mount /etc/systemd'
}

debian() {
	chroot /debian "$@"
}
