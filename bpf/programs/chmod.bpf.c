/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* chmod, fchmod, fchmodat, fchmodat2 */

CALL(chmod)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_CHMOD_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* filename: ParamFspath */
	store__path_arg(&r, &c, 0);
	/* mode: ParamMode */
	store__u32(&r, read__arg(&c, 1) & 07777);
	submit__scratch(&r);
	return 0;
}

CALL(fchmod)
{
	struct rec r;
	tell__file(&c, 0);
	if (!RESERVE(&r, &c, SYSCALL_FCHMOD_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* mode: ParamMode */
	store__u32(&r, read__arg(&c, 1) & 07777);
	submit__reserved(&r);
	return 0;
}

CALL(fchmodat)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_FCHMODAT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* filename: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* mode: ParamMode */
	store__u32(&r, read__arg(&c, 2) & 07777);
	submit__scratch(&r);
	return 0;
}

CALL(fchmodat2)
{
	struct rec r;
	tell__file(&c, 0);
	if (!BEGIN(&r, &c, SYSCALL_FCHMODAT2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* filename: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* mode: ParamMode */
	store__u32(&r, read__arg(&c, 2) & 07777);
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 3));
	submit__scratch(&r);
	return 0;
}
