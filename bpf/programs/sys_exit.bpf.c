/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sys_exit: every system call's end passes here; those wanted, and of use to somebody, go on to their own program. */

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs *regs, long ret)
{
	struct call c = {.regs = regs, .nr = read__nr(regs)};
	if (c.nr < NATIVE) {
		/* Which ABI the number follows is known only from the task, so that is asked last. */
		u32 word = c.nr / 64;
		u64 bit = 1ULL << (c.nr % 64);
		if (!((wanted[0][word] | wanted[1][word]) & bit))
			return 0;
		c.compat = read__compat();
		if (!(wanted[c.compat][word] & bit))
			return 0;
		if (read__is_exec_end(&c))
			return 0;
		if (read__is_multiplexer(&c) && !(wanted_sub[read__multiplexer(&c)] >> read__sub(&c) & 1))
			return 0;
	} else {
		u32 want = wanted_beyond;
		if (!want || !(want & (read__is_sigreturn(c.nr, ret) ? WANTED_SIGRETURN : WANTED_UNKNOWN)))
			return 0;
	}
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	if (tgid == self_tgid)
		return 0;
	c.slot = read__slot(&c);
	if (filter_on && filter__drops(&c, read__ret(c.compat, ret), tgid))
		return 0;
	bpf_tail_call(ctx, &calls, c.slot);
	return 0; /* no program: it couldn't be loaded */
}

/* self: run once by the loader, learns which process it is, which inside a pid namespace it can't know. */
SEC("raw_tp")
int self(void *ctx)
{
	self_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

/* generic: any system call that has no program of its own, and numbers that nobody knows. */
CALL(generic)
{
	struct rec r;
	u64 a[6] = {};
	if (read__is_sigreturn(c.nr, ret)) {
		c.nr = sigreturn_nr[c.compat & 1];
		c.slot = read__slot(&c);
		ret = 0; /* the registers are what they were before the signal */
	} else {
		read__args(&c, a);
	}
	if (!RESERVE(&r, &c, GENERIC_X))
		return 0;
	/* ID: ParamSyscallid */
	store__u16(&r, code_of[c.slot & (SLOTS - 1)]);
	/* nativeID: ParamUint16 */
	store__u16(&r, c.nr);
	/* nr: ParamUint32 */
	store__u32(&r, c.nr);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* arg0 … arg5: ParamUint64 */
#pragma unroll
	for (int i = 0; i < 6; i++)
		store__u64(&r, a[i]);
	submit__reserved(&r);
	return 0;
}
