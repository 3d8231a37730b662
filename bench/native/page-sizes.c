// SPDX-License-Identifier: GPL-2.0
/*
 * page-sizes: what the 4 KiB pages of an image compress to
 *
 * usage: page-sizes IMAGE
 *
 * Prints a number a page: its size in bytes when compressed with lz4, at most
 * 4096. Pages that zram and zswap do not compress are left out: those that are
 * one word repeated.
 */
#include <errno.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE	4096

int main(int argc, char **argv)
{
	static char page[PAGE], out[LZ4_COMPRESSBOUND(PAGE)];
	FILE *image;
	int size;

	if (argc != 2) {
		fprintf(stderr, "usage: page-sizes IMAGE\n");
		return 2;
	}
	image = fopen(argv[1], "rb");
	if (!image) {
		fprintf(stderr, "page-sizes: %s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	while (fread(page, PAGE, 1, image) == 1) {
		if (!memcmp(page, page + sizeof(long), PAGE - sizeof(long)))
			continue;
		size = LZ4_compress_default(page, out, PAGE, sizeof(out));
		if (size <= 0) {
			fprintf(stderr, "page-sizes: lz4 fails\n");
			return 1;
		}
		printf("%d\n", size < PAGE ? size : PAGE);
	}
	if (ferror(image) || fflush(stdout)) {
		fprintf(stderr, "page-sizes: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}
