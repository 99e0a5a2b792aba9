/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sendfile, sendfile64, splice, copy_file_range: from one fd to another, without passing through the program. */

/* n is the bytes of the offset, which by now is where the next call goes on; 0 without one. */
__inline_always int sendfile__make(const struct call *c, s64 ret, u64 n)
{
	struct rec r;
	u64 offset = read__user_pointer(read__arg(c, 2), 0, n);
	if (!RESERVE(&r, c, SYSCALL_SENDFILE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* offset: ParamUint64 */
	store__u64(&r, offset);
	/* out_fd: ParamFd */
	store__s64(&r, read__int(c, 0));
	/* in_fd: ParamFd */
	store__s64(&r, read__int(c, 1));
	/* size: ParamUint64 */
	store__u64(&r, read__arg(c, 3));
	submit__reserved(&r);
	return 0;
}

CALL(sendfile)
{
	return sendfile__make(&c, ret, read__pointer_size(c.compat));
}

CALL(sendfile64)
{
	return sendfile__make(&c, ret, 8);
}

CALL(splice)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SPLICE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd_in: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* fd_out: ParamFd */
	store__s64(&r, read__int(&c, 2));
	/* size: ParamUint64 */
	store__u64(&r, read__arg(&c, 4));
	/* flags: ParamFlags32; the format's bits are the kernel's: MOVE, NONBLOCK, MORE, GIFT */
	store__u32(&r, read__arg(&c, 5) & 15);
	submit__reserved(&r);
	return 0;
}

CALL(copy_file_range)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_COPY_FILE_RANGE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fdout: ParamFd */
	store__s64(&r, read__int(&c, 2));
	/* offout: ParamUint64; the pointer to it, as other sensors of this format give */
	store__u64(&r, read__arg(&c, 3));
	/* fdin: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* offin: ParamUint64; the pointer to it */
	store__u64(&r, read__arg(&c, 1));
	/* len: ParamUint64 */
	store__u64(&r, read__arg(&c, 4));
	submit__reserved(&r);
	return 0;
}
