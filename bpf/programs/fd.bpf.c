/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* close, close_range, dup, dup2, dup3, pipe, pipe2 */

#define DUP_N 2                       /* parameters of dup's event as a call makes it, */
#define DUP_END (4 * DUP_N + 2 * 8) /* and where they end */

CALL(close)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_CLOSE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	s64 fd = read__int(&c, 0);
	store__s64(&r, fd);
	/*
	 * The event of who has the number now may come before this one or after. The record has its place in the ring since it
	 * was reserved: where the number is free now, what comes before can't be of a file that is still open. Where it isn't,
	 * state must hear of the next close, whoever's mark the call has taken away.
	 */
	if (ret != -9 && unlikely(read__may_be_open(c.task, fd))) { /* EBADF: nothing was closed */
		*(volatile u16 *)(r.p + RECORD_ORIGIN) |= ORIGIN_REUSED;
		if (filter_on)
			marks__set(read__tgid(c.task), fd);
	}
	submit__reserved(&r);
	return 0;
}

CALL(close_range)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_CLOSE_RANGE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* first: ParamUint32 */
	store__u32(&r, read__arg(&c, 0));
	/* last: ParamUint32 */
	store__u32(&r, read__arg(&c, 1));
	/* flags: ParamFlags32; CLOSE_RANGE_UNSHARE, CLOSE_RANGE_CLOEXEC */
	store__u32(&r, read__arg(&c, 2) & 6);
	submit__reserved(&r);
	return 0;
}

#ifdef URING
/* FIXED_FD_INSTALL: an fd of a registered file, of which no other fd tells what it is. It is found by the new one. */
CALL(dup)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_DUP_1_X))
		return 0;
	struct file *f = ret >= 0 && ret <= 0x7FFFFFFE ? read__file(c.task, ret) : NULL;
	struct inode *inode = READ(f, f_inode);
	u32 type = f ? READ(inode, i_mode) & S_IFMT : 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* oldfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* path: ParamFspath, of what has one */
	if (type == S_IFREG || type == S_IFDIR || type == S_IFCHR || type == S_IFBLK)
		store__file_path(&r, f);
	else
		store__missing(&r);
	/* tuple: ParamSocktuple, of a socket */
	if (type == S_IFSOCK)
		store__socktuple(&r, ret, true, 0, 0);
	else
		store__missing(&r);
	if (f) {
		/* type: ParamMode, S_IFMT; 0 for an anonymous file of the kernel's, such as an eventfd */
		store__u32(&r, type);
		/* dev: ParamUint32 */
		store__u32(&r, read__dev(READ(READ(inode, i_sb), s_dev)));
		/* ino: ParamUint64 */
		store__u64(&r, READ(inode, i_ino));
		submit__mark_cloexec(&r, !(read__arg(&c, 1) & 1)); /* IORING_FIXED_FD_NO_CLOEXEC */
	} else {
		store__missing(&r);
		store__missing(&r);
		store__missing(&r);
		*(volatile u16 *)(r.p + RECORD_NPARAMS) = DUP_N;
	}
	submit__scratch(&r);
	return 0;
}
#else
CALL(dup)
{
	struct rec r;
	/* What follows oldfd is there when an operation of an io_uring made the event. */
	if (!submit__reserve(&r, c.cpu, SYSCALL_DUP_1_X, DUP_N, DUP_END, c.tid, c.nr, c.compat, c.slot))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* oldfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	submit__reserved(&r);
	return 0;
}
#endif

CALL(dup2)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_DUP2_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* oldfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* newfd: ParamFd */
	store__s64(&r, read__int(&c, 1));
	submit__reserved(&r);
	return 0;
}

CALL(dup3)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_DUP3_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* oldfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* newfd: ParamFd */
	store__s64(&r, read__int(&c, 1));
	/* flags: ParamFlags32 */
	store__u32(&r, MOVE(read__arg(&c, 2), O_CLOEXEC, F_CLOEXEC));
	submit__reserved(&r);
	return 0;
}

/* The two fds of a pipe that was made; -1 when they can't be read. */
__inline_always void pipe__fds(const struct call *c, s64 ret, s32 fds[2])
{
	fds[0] = fds[1] = -1;
	if (bpf_probe_read_user(fds, 2 * sizeof(s32), (void *)read__arg(c, 0)))
		fds[0] = fds[1] = -1; /* the helper zeroes what it can't read */
}

CALL(pipe)
{
	struct rec r;
	s32 fds[2];
	pipe__fds(&c, ret, fds);
	u64 ino = ret == 0 ? read__ino(fds[0]) : 0;
	if (!RESERVE(&r, &c, SYSCALL_PIPE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd1: ParamFd */
	store__s64(&r, fds[0]);
	/* fd2: ParamFd */
	store__s64(&r, fds[1]);
	/* ino: ParamUint64 */
	store__u64(&r, ino);
	submit__reserved(&r);
	return 0;
}

CALL(pipe2)
{
	struct rec r;
	s32 fds[2];
	pipe__fds(&c, ret, fds);
	u64 ino = ret == 0 ? read__ino(fds[0]) : 0;
	if (!RESERVE(&r, &c, SYSCALL_PIPE2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd1: ParamFd */
	store__s64(&r, fds[0]);
	/* fd2: ParamFd */
	store__s64(&r, fds[1]);
	/* ino: ParamUint64 */
	store__u64(&r, ino);
	/* flags: ParamFlags32 */
	u32 flags = read__arg(&c, 1);
	store__u32(&r, flags__fd(flags) | MOVE(flags, O_DIRECT, F_DIRECT));
	submit__reserved(&r);
	return 0;
}
