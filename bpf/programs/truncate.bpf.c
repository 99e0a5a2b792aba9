/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* truncate, ftruncate, and truncate64, ftruncate64 of 32-bit programs */

__inline_always int truncate__event(const struct call *c, s64 ret, u64 length)
{
	struct rec r;
	if (!BEGIN(&r, c, SYSCALL_TRUNCATE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamFspath */
	store__path_arg(&r, c, 0);
	/* length: ParamUint64 */
	store__u64(&r, length);
	submit__scratch(&r);
	return 0;
}

__inline_always int ftruncate__event(const struct call *c, s64 ret, u64 length)
{
	struct rec r;
	tell__file(c, 0);
	if (!RESERVE(&r, c, SYSCALL_FTRUNCATE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(c, 0));
	/* length: ParamUint64 */
	store__u64(&r, length);
	submit__reserved(&r);
	return 0;
}

CALL(truncate)
{
	return truncate__event(&c, ret, read__long(&c, 1));
}

CALL(truncate64)
{
	return truncate__event(&c, ret, read__pos(&c, 1));
}

CALL(ftruncate)
{
	return ftruncate__event(&c, ret, read__long(&c, 1));
}

CALL(ftruncate64)
{
	return ftruncate__event(&c, ret, read__pos(&c, 1));
}
