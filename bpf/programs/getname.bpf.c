/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * getname: the kernel has copied a path from the program's memory (getname_flags and its like, fs/namei.c; from 7.0
 * do_getname). The ends of these functions are attached to by fexit or, where there is none, by a return probe; all of them, as
 * compilers put one into the other. A path that is kept twice is the same.
 */

/* Argument i of the call under way. The registers may be an address found by hand, see clone__regs. */
__inline_always u64 getname__arg(struct pt_regs *regs, u32 compat, int i)
{
	unsigned long v = 0;
#if defined(__TARGET_ARCH_x86)
	if (compat)
		bpf_probe_read_kernel(&v, sizeof(v), i == 0 ? &regs->bx : i == 1 ? &regs->cx : i == 2 ? &regs->dx : i == 3 ? &regs->si : &regs->di);
	else
		bpf_probe_read_kernel(&v, sizeof(v), i == 0 ? &regs->di : i == 1 ? &regs->si : i == 2 ? &regs->dx : i == 3 ? &regs->r10 : &regs->r8);
#elif defined(__TARGET_ARCH_arm64)
	bpf_probe_read_kernel(&v, sizeof(v), i == 0 ? &regs->orig_x0 : &regs->regs[i]);
#endif
	return compat ? (u32)v : v;
}

/* Keeps the path of one argument. */
__inline_always void getname__keep(u32 tid, u32 nr, u32 i, u64 ptr, const char *s)
{
	u64 key = names__key(tid, i);
	u32 zero = 0;
	struct kept_name *n = bpf_map_lookup_elem(&no_name, &zero);
	if (!n)
		return;
	if (bpf_map_update_elem(&names, &key, n, BPF_ANY)) {
		__sync_fetch_and_add(&names_full, 1);
		return;
	}
	n = bpf_map_lookup_elem(&names, &key);
	if (!n)
		return;
	s64 len = bpf_probe_read_kernel_str(n->s, STRING_MAX, s);
	if (len <= 0)
		return;
	n->len = len;
	n->nr = nr;
	n->ptr = ptr;
}

/* The file name f was made of the path at ptr; 0 when that isn't known and f itself says. */
__inline_always int getname__took(struct filename *f, u64 ptr)
{
	u64 id = bpf_get_current_pid_tgid();
	if (!f || (u64)f >= (u64)-4095 || id >> 32 == self_tgid)
		return 0;
	u32 compat = read__compat(read__task()), nr;
	u64 arg;
	struct pt_regs *regs = clone__regs(read__task());
	clone__read_call(regs, compat, &nr, &arg);
	if (nr >= NATIVE || !(wanted[compat & 1][nr / 64 & (NATIVE / 64 - 1)] >> (nr & 63) & 1))
		return 0;
	u32 mask = name_args[slot_of[compat & 1][nr & (NATIVE - 1)] & (SLOTS - 1)];
	if (!mask)
		return 0;
	if (!ptr && bpf_core_field_exists(f->uptr))
		ptr = (u64)READ(f, uptr);
	if (!ptr)
		return 0;
	const char *s = READ(f, name);
#pragma unroll
	for (int i = 0; i < NAME_ARGS; i++) {
		if (mask >> i & 1 && getname__arg(regs, compat, i) == ptr)
			getname__keep(id, nr, i, ptr, s);
	}
	return 0;
}

/* The result follows the arguments, of which different functions and kernels have one to three. */
#define GETNAME_EXIT(params)                                                                                           \
	SEC("fexit/getname_flags")                                                                                     \
	int getname_exit##params(u64 *ctx)                                                                             \
	{                                                                                                              \
		return getname__took((struct filename *)ctx[params], ctx[0]);                                          \
	}
GETNAME_EXIT(1)
GETNAME_EXIT(2)
GETNAME_EXIT(3)

SEC("kretprobe/getname_flags")
int getname_return(struct pt_regs *ctx)
{
#if defined(__TARGET_ARCH_x86)
	return getname__took((struct filename *)ctx->ax, 0);
#elif defined(__TARGET_ARCH_arm64)
	return getname__took((struct filename *)ctx->regs[0], 0);
#else
	return 0;
#endif
}
