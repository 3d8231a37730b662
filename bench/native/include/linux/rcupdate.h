/* SPDX-License-Identifier: GPL-2.0 */
/* User-space substitute, see README.md */
#include <shim/shim.h>
