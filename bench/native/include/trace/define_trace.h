/* SPDX-License-Identifier: GPL-2.0 */
/* User-space substitute: there are no tracepoints to define, see README.md */
