/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* setuid, setgid, setreuid, setregid, setresuid, setresgid. What 32-bit programs call setuid32 and so on is the same. */

CALL(setuid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SETUID_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* uid: ParamUid */
	store__u32(&r, read__id(&c, 0));
	submit__reserved(&r);
	return 0;
}

CALL(setgid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SETGID_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* gid: ParamGid */
	store__u32(&r, read__id(&c, 0));
	submit__reserved(&r);
	return 0;
}

CALL(setreuid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SETREUID_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* ruid: ParamUid */
	store__u32(&r, read__id(&c, 0));
	/* euid: ParamUid */
	store__u32(&r, read__id(&c, 1));
	submit__reserved(&r);
	return 0;
}

CALL(setregid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SETREGID_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* rgid: ParamUid */
	store__u32(&r, read__id(&c, 0));
	/* egid: ParamUid */
	store__u32(&r, read__id(&c, 1));
	submit__reserved(&r);
	return 0;
}

CALL(setresuid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SETRESUID_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* ruid: ParamUid */
	store__u32(&r, read__id(&c, 0));
	/* euid: ParamUid */
	store__u32(&r, read__id(&c, 1));
	/* suid: ParamUid */
	store__u32(&r, read__id(&c, 2));
	submit__reserved(&r);
	return 0;
}

CALL(setresgid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SETRESGID_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* rgid: ParamGid */
	store__u32(&r, read__id(&c, 0));
	/* egid: ParamGid */
	store__u32(&r, read__id(&c, 1));
	/* sgid: ParamGid */
	store__u32(&r, read__id(&c, 2));
	submit__reserved(&r);
	return 0;
}
