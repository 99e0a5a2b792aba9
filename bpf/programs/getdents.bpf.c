/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* getdents, getdents64 */

CALL(getdents)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_GETDENTS_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	submit__reserved(&r);
	return 0;
}

CALL(getdents64)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_GETDENTS64_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	submit__reserved(&r);
	return 0;
}
