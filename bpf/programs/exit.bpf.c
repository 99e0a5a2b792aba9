/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sched_process_exit: the end of a thread. */

#define THREADS_MAX 16
#define ANCESTORS_MAX 16

/* A thread of the group of t that isn't exiting: its tid, 0 for none, -1 when more than THREADS_MAX would have to be asked. */
__inline_always s64 exit__alive_thread(struct task_struct *t)
{
	struct signal_struct *sig = READ(t, signal);
	struct list_head *head = (void *)sig + bpf_core_field_offset(struct signal_struct, thread_head);
	struct list_head *at = READ(head, next);
	for (int i = 0; i < THREADS_MAX; i++) {
		if (at == head)
			return 0;
		struct task_struct *o = (void *)at - bpf_core_field_offset(struct task_struct, thread_node);
		if (!(READ(o, flags) & PF_EXITING))
			return READ(o, pid);
		at = READ(at, next);
	}
	return -1;
}

/*
 * Who gets the children of t, which exits: a living thread of its group, else the nearest ancestor that asked for it
 * (PR_SET_CHILD_SUBREAPER), else the init of its pid namespace (find_new_reaper, kernel/exit.c). 0 for no children and
 * for an init itself, with which all of the namespace ends; -1 when it can't be told.
 */
__inline_always s64 exit__reaper(struct task_struct *t)
{
	struct list_head *children = (void *)t + bpf_core_field_offset(struct task_struct, children);
	if (READ(children, next) == children)
		return 0;
	struct signal_struct *sig = READ(t, signal);
	s64 tid = 0;
	/* When the whole group exits, those of its threads that still live are about to follow. */
	if (!(READ(sig, flags) & SIGNAL_GROUP_EXIT))
		tid = exit__alive_thread(t);
	if (tid)
		return tid;
	struct task_struct *init = READ(read__pid_ns(t), child_reaper);
	if (init == t)
		return 0;
	s64 init_tid = READ(init, pid);
	u32 level = read__pid_level(t);
	if (!BPF_CORE_READ_BITFIELD_PROBED(sig, has_child_subreaper))
		return init_tid;
	struct task_struct *up = READ(t, real_parent);
	for (int i = 0; i < ANCESTORS_MAX; i++) {
		if (up == init || read__pid_level(up) != level)
			return init_tid;
		sig = READ(up, signal);
		if (BPF_CORE_READ_BITFIELD_PROBED(sig, is_child_subreaper)) {
			tid = exit__alive_thread(up);
			if (tid)
				return tid;
		}
		up = READ(up, real_parent);
	}
	return -1;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sched_exit, struct task_struct *p)
{
	struct rec r;
	u64 id = bpf_get_current_pid_tgid();
	struct task_struct *t = read__task();
	if (id >> 32 == self_tgid) {
		__sync_fetch_and_add(&self_exits, 1);
		return 0;
	}
	if (READ(t, flags) & PF_KTHREAD)
		return 0;
	if (exact || exact_files)
		names__forget(bpf_get_current_pid_tgid(), 31);
	marks__exit(t, id >> 32);
	u32 code = READ(t, exit_code);
	s64 reaper = exit__reaper(t);
	struct cpu *cpu = submit__cpu();
	if (!cpu || !submit__reserve(&r, cpu, PROCEXIT_1_E, PROCEXIT_1_E_N, PROCEXIT_1_E_END, (u32)id, NO_NR, 0, 0))
		return 0;
	/* status: ParamErrno */
	store__s64(&r, code);
	/* ret: ParamErrno */
	store__s64(&r, code >> 8 & 0xff);
	/* sig: ParamSigtype */
	store__u8(&r, code & 0x7f);
	/* core: ParamUint8 */
	store__u8(&r, code >> 7 & 1);
	/* reaper_tid: ParamPid */
	store__s64(&r, reaper);
	submit__reserved(&r);
	return 0;
}
