/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * page_fault_user, page_fault_kernel: an access to memory that isn't there, by the program or by the kernel. Loaded only when
 * somebody asks for the event. Only x86 has these tracepoints on every kernel, and only its error codes are the format's.
 */
#if defined(__TARGET_ARCH_x86)

/* What the CPU says of a fault: what it doesn't say of each pair is the other of the two. */
__inline_always u32 page_fault__flags(u64 v)
{
	return (v & 1 ? 0x1 : 0x2) /* PROTECTION_VIOLATION, PAGE_NOT_PRESENT */ | (v & 2 ? 0x4 : 0x8) /* WRITE_ACCESS, READ_ACCESS */ |
	       (v & 4 ? 0x10 : 0x20) /* USER_FAULT, SUPERVISOR_FAULT */ | MOVE(v, 0x8, 0x40) /* RESERVED_PAGE */ |
	       MOVE(v, 0x10, 0x80) /* INSTRUCTION_FETCH */;
}

__inline_always int page_fault__submit(u64 address, struct pt_regs *regs, u64 code)
{
	struct rec r;
	u64 id = bpf_get_current_pid_tgid();
	if (id >> 32 == self_tgid)
		return 0;
	struct cpu *cpu = submit__cpu();
	if (!cpu || !submit__reserve(&r, cpu, PAGE_FAULT_E, PAGE_FAULT_E_N, PAGE_FAULT_E_END, (u32)id, NO_NR, 0, 0))
		return 0;
	/* addr: ParamUint64 */
	store__u64(&r, address);
	/* ip: ParamUint64 */
	store__u64(&r, regs->ip);
	/* error: ParamFlags32 */
	store__u32(&r, page_fault__flags(code));
	submit__reserved(&r);
	return 0;
}

SEC("tp_btf/page_fault_user")
int BPF_PROG(page_fault_user, unsigned long address, struct pt_regs *regs, unsigned long error_code)
{
	return page_fault__submit(address, regs, error_code);
}

SEC("tp_btf/page_fault_kernel")
int BPF_PROG(page_fault_kern, unsigned long address, struct pt_regs *regs, unsigned long error_code)
{
	return page_fault__submit(address, regs, error_code);
}

#endif
