/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* mkdir, mkdirat */

CALL(mkdir)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_MKDIR_2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamFspath */
	store__path_arg(&r, &c, 0);
	/* mode: ParamUint32 */
	store__u32(&r, read__arg(&c, 1));
	submit__scratch(&r);
	return 0;
}

CALL(mkdirat)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_MKDIRAT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* path: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* mode: ParamUint32 */
	store__u32(&r, read__arg(&c, 2));
	submit__scratch(&r);
	return 0;
}
