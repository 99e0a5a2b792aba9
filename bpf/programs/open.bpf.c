/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* open, openat, openat2, creat, open_by_handle_at */

/* Says in the record of an open how exact it is. */
__inline_always void open__mark(struct rec *r, const struct opened *o)
{
	if (exact_files)
		*(volatile u16 *)(r->p + RECORD_ORIGIN) |= o->origin;
}

__inline_always u32 open__flags(u32 flags, const struct opened *o)
{
	return flags__open(flags) | (o->created ? F_CREATED : 0) |
	       (o->layer == LAYER_UPPER ? F_UPPER_LAYER : o->layer == LAYER_LOWER ? F_LOWER_LAYER : 0);
}

CALL(open)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_OPEN_X))
		return 0;
	struct opened o = read__opened(&c, ret);
	open__mark(&r, &o);
	u32 flags = read__arg(&c, 1);
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* name: ParamFspath */
	store__path_arg(&r, &c, 0);
	/* flags: ParamFlags32 */
	store__u32(&r, open__flags(flags, &o));
	/* mode: ParamUint32 */
	store__u32(&r, flags__open_mode(flags, read__arg(&c, 2)));
	/* dev: ParamUint32 */
	store__u32(&r, o.dev);
	/* ino: ParamUint64 */
	store__u64(&r, o.ino);
	submit__scratch(&r);
	return 0;
}

CALL(openat)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_OPENAT_2_X))
		return 0;
	struct opened o = read__opened(&c, ret);
	open__mark(&r, &o);
	u32 flags = read__arg(&c, 2);
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* name: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* flags: ParamFlags32 */
	store__u32(&r, open__flags(flags, &o));
	/* mode: ParamUint32 */
	store__u32(&r, flags__open_mode(flags, read__arg(&c, 3)));
	/* dev: ParamUint32 */
	store__u32(&r, o.dev);
	/* ino: ParamUint64 */
	store__u64(&r, o.ino);
	submit__scratch(&r);
	return 0;
}

struct open__how { /* struct open_how, include/uapi/linux/openat2.h */
	u64 flags, mode, resolve;
};

__inline_always struct open__how openat2__how(const struct call *c)
{
	struct open__how how = {};
#ifdef URING /* read when the operation was submitted */
	how.flags = read__arg(c, 2), how.mode = read__arg(c, 3), how.resolve = read__arg(c, 4);
#else
	bpf_probe_read_user(&how, sizeof(how), (void *)read__arg(c, 2));
#endif
	return how;
}

CALL(openat2)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_OPENAT2_X))
		return 0;
	struct opened o = read__opened(&c, ret);
	open__mark(&r, &o);
	struct open__how how = openat2__how(&c);
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* name: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* flags: ParamFlags32 */
	store__u32(&r, open__flags(how.flags, &o));
	/* mode: ParamUint32 */
	store__u32(&r, flags__open_mode(how.flags, how.mode));
	/* resolve: ParamFlags32 */
	store__u32(&r, flags__resolve(how.resolve));
	/* dev: ParamUint32 */
	store__u32(&r, o.dev);
	/* ino: ParamUint64 */
	store__u64(&r, o.ino);
	submit__scratch(&r);
	return 0;
}

CALL(creat)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_CREAT_X))
		return 0;
	struct opened o = read__opened(&c, ret);
	open__mark(&r, &o);
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* name: ParamFspath */
	store__path_arg(&r, &c, 0);
	/* mode: ParamUint32 */
	store__u32(&r, read__arg(&c, 1) & 07777);
	/* dev: ParamUint32 */
	store__u32(&r, o.dev);
	/* ino: ParamUint64 */
	store__u64(&r, o.ino);
	/* creat_flags: ParamFlags16 */
	store__u16(&r, o.layer == LAYER_UPPER ? 1 : o.layer == LAYER_LOWER ? 2 : 0);
	submit__scratch(&r);
	return 0;
}

CALL(open_by_handle_at)
{
	struct rec r;
	tell__file(&c, 0);
	if (!BEGIN(&r, &c, SYSCALL_OPEN_BY_HANDLE_AT_X))
		return 0;
	struct opened o = read__opened(&c, ret);
	open__mark(&r, &o);
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* mountfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* flags: ParamFlags32 */
	store__u32(&r, open__flags(read__arg(&c, 2), &o));
	/* path: ParamFspath; what was opened, as a handle names nothing that could be read */
	if (ret >= 0)
		store__file_path(&r, read__file(c.task, ret));
	else
		store__missing(&r);
	/* dev: ParamUint32 */
	store__u32(&r, o.dev);
	/* ino: ParamUint64 */
	store__u64(&r, o.ino);
	submit__scratch(&r);
	return 0;
}
