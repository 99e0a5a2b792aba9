/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* mknod, mknodat */

/*
 * dev: as programs write it, but taken for a number of the kernel's own form and encoded once more. Other sensors of the
 * format do so, and rules know their numbers.
 */
__inline_always void mknod__store(struct rec *r, u32 mode, u32 dev)
{
	/* mode: ParamMode */
	store__u32(r, flags__mknod(mode));
	/* dev: ParamUint32 */
	store__u32(r, read__dev(dev));
}

CALL(mknod)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_MKNOD_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamFspath */
	store__path_arg(&r, &c, 0);
	mknod__store(&r, read__arg(&c, 1), read__arg(&c, 2));
	submit__scratch(&r);
	return 0;
}

CALL(mknodat)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_MKNODAT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* path: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	mknod__store(&r, read__arg(&c, 2), read__arg(&c, 3));
	submit__scratch(&r);
	return 0;
}
