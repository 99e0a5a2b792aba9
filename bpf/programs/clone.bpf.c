/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * clone, clone3, fork, vfork: two events for each, as the format has it. The child's, with result 0, is made by
 * sched_process_fork while its parent still runs, so that no event of the child can come before it; the parent's is that
 * of the call's end. The end of the call in the child is not looked at.
 */

enum { CLONE_NR_CLONE, CLONE_NR_FORK, CLONE_NR_VFORK, CLONE_NR_CLONE3 };

/*
 * The event type of a call by its number, and the flags it was given; 0 when it isn't one of the four. arg is its first
 * argument.
 */
__inline_always u32 clone__type(u32 nr, u64 arg, u32 compat, u64 *flags)
{
	const volatile u32 *known = clone_nr[compat & 1];
	*flags = 0;
	if (nr == known[CLONE_NR_CLONE]) {
		*flags = arg;
		return SYSCALL_CLONE_20_X;
	}
	if (nr == known[CLONE_NR_CLONE3]) {
		/* the first member of struct clone_args, include/uapi/linux/sched.h */
		bpf_probe_read_user(flags, sizeof(*flags), (void *)arg);
		return SYSCALL_CLONE3_X;
	}
	if (nr == known[CLONE_NR_FORK])
		return SYSCALL_FORK_20_X;
	if (nr == known[CLONE_NR_VFORK]) {
		*flags = CLONE_VFORK | CLONE_VM;
		return SYSCALL_VFORK_20_X;
	}
	return 0;
}

#define STACK_BYTES (16 << 10) /* THREAD_SIZE of x86-64 and of arm64 with pages up to 16 KiB */

/*
 * The registers of the system call under way: since 5.15 a helper knows; before, they are at the end of the task's stack
 * (task_pt_regs). What is read there is believed only if it is the number of one of the four calls.
 */
__inline_always struct pt_regs *clone__regs(struct task_struct *t)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
#if defined(__TARGET_ARCH_x86) || defined(__TARGET_ARCH_arm64)
	return (struct pt_regs *)((u8 *)READ(t, stack) + STACK_BYTES - bpf_core_type_size(struct pt_regs));
#else
	return NULL;
#endif
}

/* The number and the first argument of the system call whose registers these are. */
__inline_always void clone__read_call(struct pt_regs *regs, u32 compat, u32 *nr, u64 *arg)
{
	unsigned long n = NO_NR, a = 0;
#if defined(__TARGET_ARCH_x86)
	bpf_probe_read_kernel(&n, sizeof(n), &regs->orig_ax);
	if (compat)
		bpf_probe_read_kernel(&a, sizeof(a), &regs->bx);
	else
		bpf_probe_read_kernel(&a, sizeof(a), &regs->di);
#elif defined(__TARGET_ARCH_arm64)
	s32 no = -1;
	bpf_probe_read_kernel(&no, sizeof(no), &regs->syscallno);
	bpf_probe_read_kernel(&a, sizeof(a), &regs->orig_x0);
	n = no;
#elif defined(__TARGET_ARCH_arm)
	if (regs) {
		n = read__ureg(regs, 7);
		a = read__ureg(regs, 17);
	}
#else
	if (regs) {
		bpf_probe_read_kernel(&n, sizeof(n), &regs->a7);
		bpf_probe_read_kernel(&a, sizeof(a), &regs->orig_a0);
	}
#endif
	*nr = n;
	*arg = compat ? (u32)a : a;
}

/* flags, and whether the child is in a pid namespace other than the first. */
__inline_always u32 clone__flags(struct task_struct *t, u64 flags)
{
	u32 v = flags__clone(flags);
	if (flags & CLONE_NEWPID || read__pid_level(t) > 0 || READ(READ(READ(t, nsproxy), pid_ns_for_children), level) > 0)
		v |= F_CLONE_CHILD_IN_PIDNS;
	return v;
}

__inline_always void clone__store(struct rec *r, struct task_struct *t, s64 res, u32 flags, u64 start, s64 maker, s64 pidfd)
{
	/* res: ParamPid */
	store__s64(r, res);
	store__exe_args(r, t);
	store__process(r, t, false);
	store__clone(r, t, flags, start);
	/* maker: ParamPid, clone's and clone3's only: the thread that called, where that isn't one of the parent process */
	if (maker)
		store__s64(r, maker);
	else
		store__missing(r);
	/* pidfd: ParamFd, clone's and clone3's only: in the parent's event what CLONE_PIDFD gave */
	if (pidfd >= 0)
		store__s64(r, pidfd);
	else
		store__missing(r);
	*(volatile u16 *)(r->p + RECORD_NPARAMS) = maker || pidfd >= 0 ? SYSCALL_CLONE_20_X_N : SYSCALL_FORK_20_X_N;
}

/* The fd that the call under way, with these flags, made for its child; -1 for none. */
__inline_always s64 clone__pidfd(const struct call *c, u64 flags)
{
	s32 fd = -1;
	u64 ptr = 0;
	if (!(flags & CLONE_PIDFD))
		return -1;
	if (c->nr == clone_nr[c->compat & 1][CLONE_NR_CLONE3]) {
		/* the second member of struct clone_args */
		bpf_probe_read_user(&ptr, sizeof(ptr), (void *)(read__arg(c, 0) + 8));
	} else {
		ptr = read__arg(c, 2); /* parent_tid, which such calls use for it */
	}
	if (bpf_probe_read_user(&fd, sizeof(fd), (void *)ptr))
		return -1;
	return fd;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_fork, struct task_struct *parent, struct task_struct *child)
{
	struct rec r;
	u32 tgid = READ(child, tgid);
	marks__fork(parent, child);
	if (tgid == self_tgid) {
		__sync_fetch_and_add(&self_forks, 1);
		return 0;
	}
	if (READ(parent, flags) & PF_KTHREAD)
		return 0;
	u32 compat = read__compat(parent), flags = 0;
	if (READ(child, pid) != tgid)
		flags |= F_CLONE_THREAD | F_CLONE_SIGHAND | F_CLONE_VM;
	if (READ(child, files) == READ(parent, files))
		flags |= F_CLONE_FILES;
	if (READ(child, fs) == READ(parent, fs))
		flags |= F_CLONE_FS;
	if (READ(child, mm) == READ(parent, mm))
		flags |= F_CLONE_VM;
	if (READ(child, sighand) == READ(parent, sighand))
		flags |= F_CLONE_SIGHAND;
	/* The rest of the flags, and which of the four calls it is, only the call itself says. */
	u32 nr;
	u64 arg, given;
	clone__read_call(clone__regs(parent), compat, &nr, &arg);
	u32 type = clone__type(nr, arg, compat, &given);
	flags |= flags__clone(given);
	if (!type) {
		type = SYSCALL_CLONE_20_X;
		nr = NO_NR;
	}
	if (read__pid_level(child) > 0)
		flags |= F_CLONE_CHILD_IN_PIDNS;
	struct cpu *cpu = submit__cpu();
	if (!cpu || !submit__begin(&r, cpu, type, SYSCALL_CLONE_20_X_N, SYSCALL_CLONE_20_X_END, READ(child, pid), nr, compat, nr == NO_NR ? 0 : slot_of[compat & 1][nr & (NATIVE - 1)]))
		return 0;
	clone__store(&r, child, 0, flags, read__ns_start(child), given & CLONE_PARENT ? READ(parent, pid) : 0, -1);
	submit__scratch(&r);
	return 0;
}

_Static_assert(SYSCALL_CLONE_20_X_N == SYSCALL_CLONE3_X_N && SYSCALL_FORK_20_X_N == SYSCALL_VFORK_20_X_N &&
		       SYSCALL_CLONE_20_X_N == SYSCALL_FORK_20_X_N + 2,
	       "the four events have one form, with two parameters more for clone and clone3");

/* Serves all four. */
CALL(clone)
{
	struct rec r;
	u64 flags;
	u32 type = clone__type(c.nr, read__arg(&c, 0), c.compat, &flags);
	if (ret == 0 || !submit__begin(&r, c.cpu, type, SYSCALL_CLONE_20_X_N, SYSCALL_CLONE_20_X_END, c.tid, c.nr, c.compat, c.slot))
		return 0;
	struct task_struct *t = read__task();
	clone__store(&r, t, ret, clone__flags(t, flags), 0, 0, ret > 0 ? clone__pidfd(&c, flags) : -1);
	submit__scratch(&r);
	return 0;
}
