/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* poll, ppoll, select, epoll_create, epoll_create1, epoll_wait */

#define POLL_MAX 32 /* fds of a set that are looked at */

/* The fds of a poll set and what came of each: u16 count, then count × (s64 fd, s16 events). An unreadable set has none. */
__inline_always void poll__store_fds(struct rec *r, u64 ptr, u64 n)
{
	struct cpu *c = r->cpu;
	u64 begin = store__place(r);
	u16 count = n > POLL_MAX ? POLL_MAX : n;
	u64 bytes = 8 * (u64)count; /* struct pollfd: int fd; short events, revents */
	opaque(bytes);
	if (bytes > 8 * POLL_MAX)
		bytes = 8 * POLL_MAX;
	if (bpf_probe_read_user(c->path, bytes, (void *)ptr))
		count = 0;
	else if (n > POLL_MAX)
		store__mark_cut(r);
	__builtin_memcpy(BODY(r, begin), &count, 2);
	*(volatile u64 *)&c->at = begin + 2;
	for (u32 i = 0; i < POLL_MAX; i++) {
		if (i >= count)
			break;
		u64 at = store__place(r);
		s64 fd = *(s32 *)(c->path + 8 * i);
		u16 events = flags__poll(*(u16 *)(c->path + 8 * i + 6));
		__builtin_memcpy(BODY(r, at), &fd, 8);
		__builtin_memcpy(BODY(r, at) + 8, &events, 2);
		*(volatile u64 *)&c->at = at + 10;
	}
	store__entry(r, begin, *(volatile u64 *)&c->at - begin);
}

CALL(poll)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_POLL_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fds: ParamFdlist */
	poll__store_fds(&r, read__arg(&c, 0), (u32)read__arg(&c, 1));
	/* timeout: ParamInt64; ms, negative for none */
	store__s64(&r, read__int(&c, 2));
	submit__scratch(&r);
	return 0;
}

#define PPOLL_TIME64 414 /* of 32-bit programs: with times in 64 bits; other ABIs leave the number out */

/* Serves ppoll_time64 too. */
CALL(ppoll)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_PPOLL_X))
		return 0;
	u32 set = 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fds: ParamFdlist */
	poll__store_fds(&r, read__arg(&c, 0), (u32)read__arg(&c, 1));
	/* timeout: ParamReltime; what the kernel left of it; 0 without one */
	store__u64(&r, read__user_timespec(read__arg(&c, 2), c.nr == PPOLL_TIME64 ? 8 : read__pointer_size(c.compat)));
	/* sigmask: ParamSigset; the first 32 signals, 0 without a mask */
	bpf_probe_read_user(&set, sizeof(set), (void *)read__arg(&c, 3));
	store__u32(&r, set);
	submit__scratch(&r);
	return 0;
}

CALL(select)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SELECT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	submit__reserved(&r);
	return 0;
}

CALL(epoll_create)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_EPOLL_CREATE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* size: ParamInt32 */
	store__s32(&r, read__arg(&c, 0));
	submit__reserved(&r);
	return 0;
}

CALL(epoll_create1)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_EPOLL_CREATE1_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* flags: ParamFlags32; EPOLL_CLOEXEC is O_CLOEXEC to the kernel, 1 to the format */
	store__u32(&r, MOVE(read__arg(&c, 0), O_CLOEXEC, 1));
	submit__reserved(&r);
	return 0;
}

CALL(epoll_wait)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_EPOLLWAIT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* maxevents: ParamErrno */
	store__s64(&r, read__int(&c, 2));
	submit__reserved(&r);
	return 0;
}
