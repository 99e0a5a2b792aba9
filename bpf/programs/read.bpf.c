/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* read, pread64, readv, preadv */

CALL(read)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_READ_X))
		return 0;
	s64 fd = read__int(&c, 0);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* data: ParamBytebuf */
	store__received(&r, fd, read__arg(&c, 1), ret);
	/* fd: ParamFd */
	store__s64(&r, fd);
	/* size: ParamUint32 */
	store__u32(&r, read__arg(&c, 2));
	submit__scratch(&r);
	return 0;
}

CALL(pread64)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_PREAD_X))
		return 0;
	s64 fd = read__int(&c, 0);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* data: ParamBytebuf */
	store__received(&r, fd, read__arg(&c, 1), ret);
	/* fd: ParamFd */
	store__s64(&r, fd);
	/* size: ParamUint32 */
	store__u32(&r, read__arg(&c, 2));
	/* pos: ParamUint64 */
	store__u64(&r, read__pos(&c, 3));
	submit__scratch(&r);
	return 0;
}

/* From res to fd, of readv and preadv. */
__inline_always void readv__store(struct rec *r, const struct call *c, s64 ret)
{
	s64 fd = read__int(c, 0);
	/* res: ParamErrno */
	store__s64(r, ret);
	/* size: ParamUint32; bytes that were read */
	store__u32(r, ret > 0 ? ret : 0);
	/* data: ParamBytebuf */
	if (ret >= 0) {
		u64 size = (u64)forget(&r->cpu->forget[0], read__pointer_size(c->compat));
		store__pieces(r, fd, read__arg(c, 1), read__arg(c, 2), size, ret);
	} else {
		store__missing(r);
	}
	/* fd: ParamFd */
	store__s64(r, fd);
}

CALL(readv)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_READV_X))
		return 0;
	readv__store(&r, &c, ret);
	submit__scratch(&r);
	return 0;
}

CALL(preadv)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_PREADV_X))
		return 0;
	readv__store(&r, &c, ret);
	/* pos: ParamUint64 */
	store__u64(&r, read__posv(&c, 3));
	submit__scratch(&r);
	return 0;
}
