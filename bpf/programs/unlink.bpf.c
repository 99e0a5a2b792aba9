/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* unlink, unlinkat, rmdir */

CALL(unlink)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_UNLINK_2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamFspath */
	store__path_arg(&r, &c, 0);
	submit__scratch(&r);
	return 0;
}

CALL(unlinkat)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_UNLINKAT_2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* name: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 2) & 0x200 /* AT_REMOVEDIR */);
	submit__scratch(&r);
	return 0;
}

CALL(rmdir)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_RMDIR_2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamFspath */
	store__path_arg(&r, &c, 0);
	submit__scratch(&r);
	return 0;
}
