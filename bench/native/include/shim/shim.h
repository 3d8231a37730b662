/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User-space substitutes for what mm/zsmalloc.c of Linux 6.1 and 6.12 includes.
 * No header of the C library is included from here, and none of these from a
 * file that includes the C library's: both have a linux/types.h.
 */
#ifndef SHIM_H
#define SHIM_H

#include <shim/base.h>
#include <shim/list.h>
#include <shim/lock.h>
#include <shim/mm.h>
#include <shim/misc.h>

#endif
