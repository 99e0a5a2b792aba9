/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* read_core.h: the first layer: one field of a kernel struct, one argument of a system call. */
#ifndef SHIKRA_READ_CORE_H
#define SHIKRA_READ_CORE_H

/*
 * READ(p, a.b): the field a.b of what p points to; 0 when p is bad.
 *
 * From 6.2 bpf_rdonly_cast makes any address one that may be read directly, which the JIT turns into a plain load with
 * an exception entry; before, bpf_probe_read_kernel does it at some thirty times the cost. The symbol is weak: where the
 * kernel has none its address is 0 and the verifier drops the branch. 32-bit kernels have no such calls, and pointers and
 * longs of four bytes where this object has eight: there the field's own size is read into zeros.
 */
#if defined(__TARGET_ARCH_arm)
#define READ(p, f)                                                                                                     \
	({                                                                                                             \
		typeof((p)->f) __v = 0;                                                                                \
		bpf_probe_read_kernel(&__v, bpf_core_field_size((p)->f), &(p)->f);                                     \
		__v;                                                                                                   \
	})
#else
extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym __weak;
#define READ(p, f)                                                                                                     \
	({                                                                                                             \
		typeof((p)->f) __v;                                                                                    \
		if (bpf_rdonly_cast)                                                                                   \
			__v = ((typeof(p))bpf_rdonly_cast(p, bpf_core_type_id_kernel(typeof(*(p)))))->f;               \
		else                                                                                                   \
			bpf_probe_read_kernel(&__v, sizeof(__v), &(p)->f);                                             \
		__v;                                                                                                   \
	})
#endif

/* opaque(v): v, of which the compiler knows nothing, so that it keeps the bounds check that follows for the verifier. */
#define opaque(v) asm volatile("" : "+r"(v))

/*
 * forget(slot, v): v, of which the verifier knows nothing but that it is a number. What READ gives is a pointer to a type,
 * and a loop that may hold now this type, now that one, would be followed in each combination; slot is memory of a map.
 */
#define forget(slot, v)                                                                                                \
	({                                                                                                             \
		*(volatile u64 *)(slot) = (u64)(v);                                                                    \
		(void *)*(volatile u64 *)(slot);                                                                       \
	})

/* The task that runs. bpf_get_current_task_btf (5.11) costs the same; what READ makes of it is what counts. */
__inline_always struct task_struct *read__task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}

/* Whether the call under way in t, the task that runs, is a 32-bit one on a 64-bit kernel. */
__inline_always u32 read__compat(struct task_struct *t)
{
#if defined(__TARGET_ARCH_x86)
	return !!(READ(t, thread_info.status) & 2); /* TS_COMPAT, arch/x86/include/asm/thread_info.h */
#elif defined(__TARGET_ARCH_arm64)
	return !!(READ(t, thread_info.flags) & (1 << 22)); /* TIF_32BIT, arch/arm64/include/asm/thread_info.h */
#else
	return 0;
#endif
}

/*
 * The process and the thread of t, the task that runs. A load costs nothing beside the call of a helper, whose return alone is
 * some 8 ns where the kernel guards returns (CONFIG_MITIGATION_SRSO); where READ is a helper itself, the one that knows both
 * is cheaper.
 */
__inline_always u32 read__tgid(struct task_struct *t)
{
#if !defined(__TARGET_ARCH_arm)
	if (bpf_rdonly_cast)
		return READ(t, tgid);
#endif
	return bpf_get_current_pid_tgid() >> 32;
}

__inline_always u32 read__tid(struct task_struct *t)
{
#if !defined(__TARGET_ARCH_arm)
	if (bpf_rdonly_cast)
		return READ(t, pid);
#endif
	return bpf_get_current_pid_tgid();
}

#if defined(__TARGET_ARCH_arm)
/* A register, in the order of arch/arm/include/uapi/asm/ptrace.h. */
__inline_always u32 read__ureg(struct pt_regs *regs, u32 i)
{
	u32 v = 0;
	bpf_probe_read_kernel(&v, sizeof(v), (u8 *)regs + 4 * i);
	return v;
}
#endif

/* The native number of the system call. */
__inline_always u32 read__nr(struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	return regs->orig_ax;
#elif defined(__TARGET_ARCH_arm64)
	return regs->syscallno;
#elif defined(__TARGET_ARCH_arm)
	return read__ureg(regs, 7);
#else
	return regs->a7;
#endif
}

/* A system call as it ends: its registers, which ABI they follow, who made it. */
struct call {
	void *ctx;
	struct pt_regs *regs;
	struct cpu *cpu;
	struct task_struct *task; /* the one that runs */
	u32 nr, compat, tid;
	u32 slot; /* its place in the sensor's table plus one */
#ifdef URING
	const struct uring_op *op; /* the operation that stands for the call: see uring.h */
	u64 req;                   /* the kernel's request of it */
	u32 drop;                  /* parameters that are left out, a bit each */
	u32 may_drop;              /* those that ever are, a constant */
#endif
};

#ifdef URING
/* An operation's arguments are numbers of 64 bits on every architecture. */
__inline_always u64 read__arg(const struct call *c, int i)
{
	return c->op->args[i];
}
#else

/* Argument i, a constant, of the system call. 32-bit calls leave the upper halves of registers zero. */
__inline_always u64 read__arg(const struct call *c, int i)
{
	struct pt_regs *regs = c->regs;
#if defined(__TARGET_ARCH_x86)
	if (c->compat) /* entry_INT80_compat takes ebx, ecx, edx, esi, edi, ebp */
		return (u32)(i == 0 ? regs->bx : i == 1 ? regs->cx : i == 2 ? regs->dx : i == 3 ? regs->si : i == 4 ? regs->di : regs->bp);
	return i == 0 ? regs->di : i == 1 ? regs->si : i == 2 ? regs->dx : i == 3 ? regs->r10 : i == 4 ? regs->r8 : regs->r9;
#elif defined(__TARGET_ARCH_arm64)
	u64 v = i == 0 ? regs->orig_x0 : regs->regs[i]; /* x0 holds the result by now */
	return c->compat ? (u32)v : v;
#elif defined(__TARGET_ARCH_arm)
	return read__ureg(regs, i == 0 ? 17 : i); /* ORIG_r0 */
#else
	return i == 0 ? regs->orig_a0 : i == 1 ? regs->a1 : i == 2 ? regs->a2 : i == 3 ? regs->a3 : i == 4 ? regs->a4 : regs->a5;
#endif
}

#endif /* URING */

/* Argument i of the system call, an int: fds, pids, modes. */
__inline_always s64 read__int(const struct call *c, int i)
{
	return (s32)read__arg(c, i);
}

/* The bytes of a pointer of the program that runs. */
__inline_always u64 read__pointer_size(u32 compat)
{
#if defined(__TARGET_ARCH_arm)
	return 4;
#else
	return compat ? 4 : 8;
#endif
}

/* Argument i of the system call, a long: offsets. */
__inline_always s64 read__long(const struct call *c, int i)
{
	u64 v = read__arg(c, i);
#if defined(URING)
	return v;
#elif defined(__TARGET_ARCH_arm)
	return (s32)v;
#else
	return c->compat ? (s32)v : (s64)v;
#endif
}

/* An offset of 64 bits at argument i: 32-bit calls have it in two, which on Arm begin at an even one. */
__inline_always u64 read__pos(const struct call *c, int i)
{
#if defined(URING)
	return read__arg(c, i);
#elif defined(__TARGET_ARCH_arm)
	i += i & 1;
	return read__arg(c, i) | read__arg(c, i + 1) << 32;
#elif defined(__TARGET_ARCH_arm64)
	if (c->compat)
		return read__arg(c, i + (i & 1)) | read__arg(c, i + (i & 1) + 1) << 32;
#else
	if (c->compat)
		return read__arg(c, i) | read__arg(c, i + 1) << 32;
#endif
	return read__arg(c, i);
}

/* The same of preadv and pwritev, which have two arguments for it everywhere and use the second in 32-bit calls. */
__inline_always u64 read__posv(const struct call *c, int i)
{
	u64 v = read__arg(c, i);
#ifdef URING
	return v;
#endif
	return read__pointer_size(c->compat) == 4 ? v | read__arg(c, i + 1) << 32 : v;
}

#define LCHOWN32 198

/*
 * Argument i, the id of a user or a group. What 32-bit programs call by numbers before that of lchown32 has ids of 16 bits,
 * on x86 and on arm alike; all ones stand for none all the same (low2highuid, include/linux/highuid.h).
 */
__inline_always u32 read__id(const struct call *c, int i)
{
	u32 v = read__arg(c, i);
	if (read__pointer_size(c->compat) == 4 && c->nr < LCHOWN32) {
		v &= 0xFFFF;
		return v == 0xFFFF ? ~0u : v;
	}
	return v;
}

/* The interval in a timespec at ptr whose words have size bytes, in ns; 0 when it can't be read. */
__inline_always u64 read__user_timespec(u64 ptr, u64 size)
{
	if (size == 4) {
		s32 v[2] = {};
		bpf_probe_read_user(v, sizeof(v), (void *)ptr);
		return (s64)v[0] * 1000000000 + v[1];
	}
	s64 v[2] = {};
	bpf_probe_read_user(v, sizeof(v), (void *)ptr);
	return v[0] * 1000000000 + v[1];
}

/* The pointer at index i of a user-space array of pointers of size bytes each, 4 or 8; 0 when it can't be read. */
__inline_always u64 read__user_pointer(u64 array, u32 i, u64 size)
{
	u64 p[2] = {}; /* of which the second is never written, but to the verifier size is anything within the mask */
	bpf_probe_read_user(p, size & 12, (void *)(array + size * i));
	return p[0];
}

#endif
