/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* write, pwrite64, writev, pwritev */

/* From res to size, of write and pwrite64. */
__inline_always void write__store(struct rec *r, const struct call *c, s64 ret)
{
	s64 fd = read__int(c, 0);
	u64 len = read__arg(c, 2);
	/* res: ParamErrno */
	store__s64(r, ret);
	/* data: ParamBytebuf */
	store__sent(r, fd, read__arg(c, 1), len, ret);
	/* fd: ParamFd */
	store__s64(r, fd);
	/* size: ParamUint32 */
	store__u32(r, len);
}

CALL(write)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_WRITE_X))
		return 0;
	write__store(&r, &c, ret);
	submit__scratch(&r);
	return 0;
}

CALL(pwrite64)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_PWRITE_X))
		return 0;
	write__store(&r, &c, ret);
	/* pos: ParamUint64 */
	store__u64(&r, read__pos(&c, 3));
	submit__scratch(&r);
	return 0;
}

/* From res to size, of writev and pwritev. */
__inline_always void writev__store(struct rec *r, const struct call *c, s64 ret)
{
	s64 fd = read__int(c, 0);
	u64 size = (u64)forget(&r->cpu->forget[0], read__pointer_size(c->compat));
	/* res: ParamErrno */
	store__s64(r, ret);
	/* data: ParamBytebuf */
	u64 all = store__pieces(r, fd, read__arg(c, 1), read__arg(c, 2), size, ret >= 0 ? ret : ~0ULL);
	/* fd: ParamFd */
	store__s64(r, fd);
	/* size: ParamUint32; of all pieces */
	store__u32(r, all);
}

CALL(writev)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_WRITEV_X))
		return 0;
	writev__store(&r, &c, ret);
	submit__scratch(&r);
	return 0;
}

CALL(pwritev)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_PWRITEV_X))
		return 0;
	writev__store(&r, &c, ret);
	/* pos: ParamUint64 */
	store__u64(&r, read__posv(&c, 3));
	submit__scratch(&r);
	return 0;
}
