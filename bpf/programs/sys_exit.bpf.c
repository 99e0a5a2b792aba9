/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sys_exit: every system call's end passes here; those wanted, and of use to somebody, go on to their own program. */

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs *regs, long ret)
{
	struct call c = {.regs = regs};
	if (dispatch__wants(&c, ret) && !dispatch__drops(&c, ret))
		bpf_tail_call(ctx, &calls, c.slot);
	return 0; /* of no use to anybody; or no program: it couldn't be loaded */
}

/* self: run once by the loader, learns which process it is, which inside a pid namespace it can't know, and its mount namespace. */
SEC("raw_tp")
int self(void *ctx)
{
	self_mnt_ns = (u64)READ(READ(read__task(), nsproxy), mnt_ns);
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
