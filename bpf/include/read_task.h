/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* read_task.h: what a task_struct says: ids in and out of namespaces, credentials, memory, terminal. */
#ifndef SHIKRA_READ_TASK_H
#define SHIKRA_READ_TASK_H

#define PAGES_TO_KB(n) ((u32)((u64)(n) << page_kb_shift))

/* The number that pid has at depth level of the nested pid namespaces, 0 for none. */
__inline_always s64 read__pid_at(struct pid *pid, u32 level)
{
	struct upid up = {};
	if (!pid || READ(pid, level) < level)
		return 0;
	if (level == 0)
		return READ(pid, numbers[0].nr);
	/* An index that isn't a constant can't go through READ. */
	bpf_probe_read_kernel(&up, sizeof(up), (u8 *)&pid->numbers[0] + sizeof(struct upid) * (u64)level);
	return up.nr;
}

/* The depth of the task's own pid namespace. */
__inline_always u32 read__pid_level(struct task_struct *t)
{
	return READ(READ(t, thread_pid), level);
}

/* The task's pid namespace. */
__inline_always struct pid_namespace *read__pid_ns(struct task_struct *t)
{
	struct pid *pid = READ(t, thread_pid);
	struct upid up = {};
	bpf_probe_read_kernel(&up, sizeof(up), (u8 *)&pid->numbers[0] + sizeof(struct upid) * (u64)READ(pid, level));
	return up.ns;
}

/* The id that type names (thread group, process group, session), at depth level. */
__inline_always s64 read__task_id(struct task_struct *t, enum pid_type type, u32 level)
{
	struct signal_struct *sig = READ(t, signal);
	struct pid *pid = type == PIDTYPE_TGID ? READ(sig, pids[PIDTYPE_TGID]) : READ(sig, pids[PIDTYPE_PGID]);
	return read__pid_at(pid, level);
}

/* The id of the parent process, as getppid gives it: not that of the thread that forked. */
__inline_always s64 read__parent(struct task_struct *t)
{
	return READ(READ(t, real_parent), tgid);
}

/* When the init of the task's pid namespace started, ns of boot time. */
__inline_always u64 read__ns_start(struct task_struct *t)
{
	return READ(READ(read__pid_ns(t), child_reaper), start_boottime);
}

/* Resident pages and swap entries, in KiB; approximate, as the per-CPU parts of the counters are left out. */
__inline_always void read__rss(struct mm_struct *mm, u32 *rss, u32 *swap)
{
	s64 file, anon, shmem, swapped;
	if (bpf_core_type_exists(struct mm_rss_stat)) { /* up to 6.1 */
		struct mm_struct___5 *m = (void *)mm;
		/* The suffix isn't the kernel's name, so a cast wouldn't find it: read the four at once. */
		s64 v[4] = {};
		bpf_probe_read_kernel(v, sizeof(v), &m->rss_stat);
		file = v[MM_FILEPAGES], anon = v[MM_ANONPAGES], swapped = v[MM_SWAPENTS], shmem = v[MM_SHMEMPAGES];
	} else {
		file = READ(mm, rss_stat[MM_FILEPAGES].count);
		anon = READ(mm, rss_stat[MM_ANONPAGES].count);
		swapped = READ(mm, rss_stat[MM_SWAPENTS].count);
		shmem = READ(mm, rss_stat[MM_SHMEMPAGES].count);
	}
	*rss = PAGES_TO_KB((file > 0 ? file : 0) + (anon > 0 ? anon : 0) + (shmem > 0 ? shmem : 0));
	*swap = PAGES_TO_KB(swapped > 0 ? swapped : 0);
}

/* A device number in the form of the event format: minor's low byte, major, the rest of minor. */
__inline_always u32 read__dev(u32 dev)
{
	u32 major = dev >> 20, minor = dev & 0xfffff; /* include/linux/kdev_t.h */
	return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

/* The controlling terminal's device, 0 for none. */
__inline_always u32 read__tty(struct task_struct *t)
{
	struct tty_struct *tty = READ(READ(t, signal), tty);
	if (!tty)
		return 0;
	struct tty_driver *d = READ(tty, driver);
	return read__dev(((u32)READ(d, major) << 20 | (u32)READ(d, minor_start)) + (u32)READ(tty, index));
}

/* The audit login uid, all ones for none or where the kernel has no audit. */
__inline_always u32 read__loginuid(struct task_struct *t)
{
	if (bpf_core_field_exists(t->loginuid))
		return READ(t, loginuid.val);
	return 0xFFFFFFFF;
}

enum cap_set { CAPS_INHERITABLE, CAPS_PERMITTED, CAPS_EFFECTIVE };

/* A set of capabilities as bits. Two words before 6.3, one since, the same bytes: so read as bytes. */
__inline_always u64 read__caps(struct cred *cred, enum cap_set set)
{
	u64 v = 0;
	void *p = set == CAPS_INHERITABLE ? (void *)&cred->cap_inheritable
			: set == CAPS_PERMITTED ? (void *)&cred->cap_permitted
						: (void *)&cred->cap_effective;
	bpf_probe_read_kernel(&v, sizeof(v), p);
	return v;
}

#endif
