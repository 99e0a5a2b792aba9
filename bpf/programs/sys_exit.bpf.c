/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sys_exit: every system call's end passes here; those wanted go on to their own program. */

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs *regs, long ret)
{
	u32 nr = read__nr(regs); /* all ones when a tracer took the call away */
	if (nr >= NATIVE)
		return 0;
	/* Which ABI the number follows is known only from the task, so that is asked last. */
	u32 word = nr / 64;
	u64 bit = 1ULL << (nr % 64);
	if (!((wanted[0][word] | wanted[1][word]) & bit))
		return 0;
	u32 compat = read__compat();
	if (!(wanted[compat][word] & bit) || bpf_get_current_pid_tgid() >> 32 == self_tgid)
		return 0;
	bpf_tail_call(ctx, &calls, read__slot(regs, nr, compat));
	return 0; /* no program: it couldn't be loaded */
}

/* self: run once by the loader, learns which process it is, which inside a pid namespace it can't know. */
SEC("raw_tp")
int self(void *ctx)
{
	self_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

/* generic: any system call that has no program of its own. */
CALL(generic)
{
	struct rec r;
	if (!RESERVE(&r, &c, GENERIC_X))
		return 0;
	/* ID: ParamSyscallid */
	store__u16(&r, code_of[slot_of[c.compat & 1][c.nr & (NATIVE - 1)] & (SLOTS - 1)]);
	/* nativeID: ParamUint16 */
	store__u16(&r, c.nr);
	submit__reserved(&r);
	return 0;
}
