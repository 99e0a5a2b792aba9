/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* memfd_create, userfaultfd: memory that has an fd */

CALL(memfd_create)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_MEMFD_CREATE_X))
		return 0;
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* name: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 0));
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 1) & 7 /* MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB */);
	submit__scratch(&r);
	return 0;
}

CALL(userfaultfd)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_USERFAULTFD_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* flags: ParamFlags32 */
	store__u32(&r, flags__fd(read__arg(&c, 0)));
	submit__reserved(&r);
	return 0;
}
