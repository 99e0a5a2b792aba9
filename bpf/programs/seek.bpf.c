/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* lseek, _llseek */

CALL(lseek)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_LSEEK_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* offset: ParamUint64; signed, though the format says otherwise */
	store__u64(&r, read__long(&c, 1));
	/* whence: ParamEnumflags8 */
	store__u8(&r, flags__whence(read__arg(&c, 2)));
	submit__reserved(&r);
	return 0;
}

/* 32-bit only: the offset comes in two halves, the new position goes to where the fourth argument points. */
CALL(_llseek)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_LLSEEK_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* offset: ParamUint64 */
	store__u64(&r, read__arg(&c, 1) << 32 | (u32)read__arg(&c, 2));
	/* whence: ParamEnumflags8 */
	store__u8(&r, flags__whence(read__arg(&c, 4)));
	submit__reserved(&r);
	return 0;
}
