/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* fcntl, with it fcntl64; flock */

CALL(fcntl)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_FCNTL_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* cmd: ParamEnumflags8 */
	store__u8(&r, flags__fcntl(read__arg(&c, 1)));
	/* arg: ParamUint64 */
	store__u64(&r, read__arg(&c, 2));
	submit__reserved(&r);
	return 0;
}

CALL(flock)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_FLOCK_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* operation: ParamFlags32; the format's bits are the kernel's: LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN */
	store__u32(&r, read__arg(&c, 1) & 15);
	submit__reserved(&r);
	return 0;
}
