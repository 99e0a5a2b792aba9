/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* inotify_init, inotify_init1, signalfd, signalfd4, eventfd, eventfd2, timerfd_create: fds of no file. */

CALL(inotify_init)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_INOTIFY_INIT_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* flags: ParamUint8; it has none */
	store__u8(&r, 0);
	submit__reserved(&r);
	return 0;
}

CALL(inotify_init1)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_INOTIFY_INIT1_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* flags: ParamFlags16 */
	store__u16(&r, flags__fd(read__arg(&c, 0)));
	submit__reserved(&r);
	return 0;
}

/* The first 32 signals of the mask. */
__inline_always u32 signalfd__mask(const struct call *c)
{
	u32 set = 0;
	bpf_probe_read_user(&set, sizeof(set), (void *)read__arg(c, 1));
	return set;
}

CALL(signalfd)
{
	struct rec r;
	u32 mask = signalfd__mask(&c);
	if (!RESERVE(&r, &c, SYSCALL_SIGNALFD_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* mask: ParamUint32 */
	store__u32(&r, mask);
	/* flags: ParamUint8; it has none */
	store__u8(&r, 0);
	submit__reserved(&r);
	return 0;
}

CALL(signalfd4)
{
	struct rec r;
	u32 mask = signalfd__mask(&c);
	if (!RESERVE(&r, &c, SYSCALL_SIGNALFD4_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* flags: ParamFlags16 */
	store__u16(&r, flags__fd(read__arg(&c, 3)));
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* mask: ParamUint32 */
	store__u32(&r, mask);
	submit__reserved(&r);
	return 0;
}

CALL(eventfd)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_EVENTFD_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* initval: ParamUint64; an unsigned int to the kernel */
	store__u64(&r, (u32)read__arg(&c, 0));
	/* flags: ParamUint32; it has none */
	store__u32(&r, 0);
	submit__reserved(&r);
	return 0;
}

CALL(eventfd2)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_EVENTFD2_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* flags: ParamFlags16 */
	store__u16(&r, flags__fd(read__arg(&c, 1)));
	/* initval: ParamUint64 */
	store__u64(&r, (u32)read__arg(&c, 0));
	submit__reserved(&r);
	return 0;
}

CALL(timerfd_create)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_TIMERFD_CREATE_X))
		return 0;
	/* res: ParamFd */
	store__s64(&r, ret);
	/* clockid: ParamUint8 */
	store__u8(&r, read__arg(&c, 0));
	/* flags: ParamUint8; close-on-exec has no place in eight bits */
	store__u8(&r, flags__fd(read__arg(&c, 1)));
	submit__mark_cloexec(&r, read__arg(&c, 1) & O_CLOEXEC);
	submit__reserved(&r);
	return 0;
}
