/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* stat, lstat, stat64, lstat64, fstat, fstat64, newfstatat, access */

/* stat and its like: they differ by the name of the event alone. */
#define STAT(name, NAME)                                                                                               \
	CALL(name)                                                                                                     \
	{                                                                                                              \
		struct rec r;                                                                                          \
		if (!BEGIN(&r, &c, SYSCALL_##NAME##_X))                                                                \
			return 0;                                                                                      \
		/* res: ParamErrno */                                                                                  \
		store__s64(&r, ret);                                                                                   \
		/* path: ParamFspath */                                                                                \
		store__path_arg(&r, &c, 0);                                                              \
		submit__scratch(&r);                                                                                   \
		return 0;                                                                                              \
	}
STAT(stat, STAT)
STAT(lstat, LSTAT)
STAT(stat64, STAT64)
STAT(lstat64, LSTAT64)

CALL(fstat)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_FSTAT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	submit__reserved(&r);
	return 0;
}

CALL(fstat64)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_FSTAT64_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	submit__reserved(&r);
	return 0;
}

CALL(newfstatat)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_NEWFSTATAT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* path: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 3) & 0x1900 /* AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH */);
	submit__scratch(&r);
	return 0;
}

CALL(access)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_ACCESS_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* name: ParamFspath */
	store__path_arg(&r, &c, 0);
	/* mode: ParamFlags32 */
	store__u32(&r, read__arg(&c, 1) & 7 /* X_OK, W_OK, R_OK */);
	submit__scratch(&r);
	return 0;
}
