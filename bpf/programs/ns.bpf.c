/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* setns, unshare */

CALL(setns)
{
	struct rec r;
	tell__file(&c, 0);
	if (!RESERVE(&r, &c, SYSCALL_SETNS_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* nstype: ParamFlags32 */
	store__u32(&r, flags__clone(read__arg(&c, 1)));
	submit__reserved(&r);
	return 0;
}

CALL(unshare)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_UNSHARE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* flags: ParamFlags32 */
	store__u32(&r, flags__clone(read__arg(&c, 0)));
	submit__reserved(&r);
	return 0;
}
