/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* setrlimit, getrlimit, prlimit64. ia32's and arm's ugetrlimit is getrlimit. */

struct limits {
	s64 cur, max;
};

/* A limit of 32 bits, whose infinity is all ones. */
__inline_always s64 rlimit__widen(u32 v)
{
	return v == 0xFFFFFFFF ? -1 : (s64)v;
}

/* The two limits at ptr, in words of the program's size, or of 8 bytes when wide; 0 what can't be read. */
__inline_always struct limits rlimit__read(const struct call *c, u64 ptr, bool wide)
{
	struct limits l = {};
	if (wide || read__pointer_size(c->compat) == 8) {
		bpf_probe_read_user(&l, sizeof(l), (void *)ptr);
		return l;
	}
	u32 v[2] = {};
	bpf_probe_read_user(v, sizeof(v), (void *)ptr);
	l.cur = rlimit__widen(v[0]);
	l.max = rlimit__widen(v[1]);
	return l;
}

CALL(setrlimit)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SETRLIMIT_X))
		return 0;
	struct limits l = rlimit__read(&c, read__arg(&c, 1), false);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* cur: ParamInt64 */
	store__s64(&r, l.cur);
	/* max: ParamInt64 */
	store__s64(&r, l.max);
	/* resource: ParamEnumflags8 */
	store__u8(&r, flags__rlimit(read__arg(&c, 0)));
	submit__reserved(&r);
	return 0;
}

CALL(getrlimit)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_GETRLIMIT_X))
		return 0;
	struct limits l = {.cur = -1, .max = -1};
	if (ret == 0)
		l = rlimit__read(&c, read__arg(&c, 1), false);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* cur: ParamInt64, -1 of a call that failed */
	store__s64(&r, l.cur);
	/* max: ParamInt64 */
	store__s64(&r, l.max);
	/* resource: ParamEnumflags8 */
	store__u8(&r, flags__rlimit(read__arg(&c, 0)));
	submit__reserved(&r);
	return 0;
}

CALL(prlimit64)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_PRLIMIT_X))
		return 0;
	u64 set = read__arg(&c, 2);
	struct limits new = rlimit__read(&c, set, true), old = {.cur = -1, .max = -1};
	if (ret == 0)
		old = rlimit__read(&c, read__arg(&c, 3), true);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* newcur: ParamInt64, 0 when none is set */
	store__s64(&r, new.cur);
	/* newmax: ParamInt64 */
	store__s64(&r, new.max);
	/* oldcur: ParamInt64, 0 when none is asked for, -1 of a call that failed */
	store__s64(&r, old.cur);
	/* oldmax: ParamInt64 */
	store__s64(&r, old.max);
	/* pid: ParamInt64 */
	store__s64(&r, read__int(&c, 0));
	/* resource: ParamEnumflags8 */
	store__u8(&r, flags__rlimit(read__arg(&c, 1)));
	/* sets: ParamBool, whether there are new limits, which may be 0 */
	store__u32(&r, set ? 1 : 0);
	submit__reserved(&r);
	return 0;
}
