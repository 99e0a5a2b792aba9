// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * iter_task.bpf.c: iter/task: every thread as a struct iter_task_head, for the snapshot at start (kernels 5.10 and later).
 *
 * The command line, the environment and the names of the cgroups are left to /proc: user memory can be read from an
 * iterator from 5.18 on only, and cgroups are few (iter_task_head.css tells which threads share them).
 */
#include "iter_path.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct scratch {
	struct iter_task_head t;
	struct iter_pathbuf exe, cwd, root;
	__u64 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} iter_task_scratch SEC(".maps");

/* id is p's number in the first pid namespace, vid that at depth level: 0 when p isn't there. */
static __always_inline void read_pid(struct pid *p, unsigned int level, __s32 *id, __s32 *vid) {
	struct upid *first = __builtin_preserve_access_index(&p->numbers[0]);
	*id = BPF_CORE_READ(first, nr);
	*vid = 0;
	if (level > 32 /* MAX_PID_NS_LEVEL */ || level > BPF_CORE_READ(p, level))
		return;
	struct upid *last = (void *)first + level * bpf_core_type_size(struct upid);
	*vid = BPF_CORE_READ(last, nr);
}

/* True when gid is one of the task's groups; the kernel allows 65,536, of which the first 32 are looked at. */
static __always_inline bool in_group(const struct cred *cred, __u32 gid) {
	if (BPF_CORE_READ(cred, fsgid.val) == gid)
		return true;
	struct group_info *gi = BPF_CORE_READ(cred, group_info);
	__u32 n = BPF_CORE_READ(gi, ngroups);
	kgid_t *first = __builtin_preserve_access_index(&gi->gid[0]);
	for (__u32 i = 0; i < 32; i++) {
		kgid_t g = {};
		if (i >= n)
			break;
		bpf_probe_read_kernel(&g, sizeof(g), first + i);
		if (g.val == gid)
			return true;
	}
	return false;
}

static __always_inline __u64 ns_of(__s64 sec, __s64 nsec) {
	return (__u64)sec * 1000000000ULL + nsec;
}

static __always_inline void read_exe(struct iter_task_head *t, const struct cred *cred, struct inode *inode) {
	t->exe_ino = BPF_CORE_READ(inode, i_ino);
	t->exe_uid = BPF_CORE_READ(inode, i_uid.val);
	t->exe_mode = BPF_CORE_READ(inode, i_mode);
	if (in_group(cred, BPF_CORE_READ(inode, i_gid.val)))
		t->flags |= TASK_EXE_GROUP;
	if ((BPF_CORE_READ(inode, i_sb, s_flags) & SB_RDONLY) || (BPF_CORE_READ(inode, i_flags) & S_IMMUTABLE))
		t->flags |= TASK_EXE_FIXED;
	struct inode___6_7 *i67 = (void *)inode;
	struct inode___6_11 *i611 = (void *)inode;
	if (bpf_core_field_exists(i611->i_ctime_sec))
		t->exe_ctime = ns_of(BPF_CORE_READ(i611, i_ctime_sec), BPF_CORE_READ(i611, i_ctime_nsec) & 0x7fffffff);
	else if (bpf_core_field_exists(i67->__i_ctime))
		t->exe_ctime = ns_of(BPF_CORE_READ(i67, __i_ctime.tv_sec), BPF_CORE_READ(i67, __i_ctime.tv_nsec));
	else
		t->exe_ctime = ns_of(BPF_CORE_READ(inode, i_ctime.tv_sec), BPF_CORE_READ(inode, i_ctime.tv_nsec));
	if (bpf_core_field_exists(i611->i_mtime_sec))
		t->exe_mtime = ns_of(BPF_CORE_READ(i611, i_mtime_sec), BPF_CORE_READ(i611, i_mtime_nsec));
	else if (bpf_core_field_exists(i67->__i_mtime))
		t->exe_mtime = ns_of(BPF_CORE_READ(i67, __i_mtime.tv_sec), BPF_CORE_READ(i67, __i_mtime.tv_nsec));
	else
		t->exe_mtime = ns_of(BPF_CORE_READ(inode, i_mtime.tv_sec), BPF_CORE_READ(inode, i_mtime.tv_nsec));
}

SEC("iter/task")
int iter_task(struct bpf_iter__task *ctx) {
	struct task_struct *task = ctx->task;
	__u32 key = 0;
	struct scratch *s = bpf_map_lookup_elem(&iter_task_scratch, &key);
	if (!task || !s)
		return 0;
	struct iter_task_head *t = &s->t;
	struct task_struct___iter *ti = (void *)task;
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct signal_struct *sig = BPF_CORE_READ(task, signal);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	const struct cred *cred = BPF_CORE_READ(ti, real_cred);

	__builtin_memset(t, 0, sizeof(*t));
	t->tid = BPF_CORE_READ(task, pid);
	t->pid = BPF_CORE_READ(task, tgid);
	t->ptid = BPF_CORE_READ(task, real_parent, tgid);
	t->clone_ts = BPF_CORE_READ(task, start_boottime);
	t->exit_state = BPF_CORE_READ(ti, exit_state);
	t->nr_threads = BPF_CORE_READ((struct signal_struct___iter *)sig, nr_threads);
	t->css = (__u64)BPF_CORE_READ(task, cgroups);
	t->files = (__u64)BPF_CORE_READ(task, files);
	t->fs = (__u64)fs;
	bpf_probe_read_kernel(t->comm, sizeof(t->comm), __builtin_preserve_access_index(&task->comm));

	__s32 tid;
	unsigned int level = 0;
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	if (pid) {
		level = BPF_CORE_READ(pid, level);
		read_pid(pid, level, &tid, &t->vtid);
	}
	struct pid *tg = BPF_CORE_READ(sig, pids[PIDTYPE_TGID]);
	if (tg) {
		read_pid(tg, level, &tid, &t->vpid);
		t->ns_level = BPF_CORE_READ(tg, level);
		struct upid *first = __builtin_preserve_access_index(&tg->numbers[0]);
		struct upid *last = (void *)first + (t->ns_level & 31) * bpf_core_type_size(struct upid);
		t->pidns_init_ts = BPF_CORE_READ(last, ns, child_reaper, start_boottime);
	}
	struct pid *pg = BPF_CORE_READ(sig, pids[PIDTYPE_PGID]);
	if (pg)
		read_pid(pg, level, &t->pgid, &t->vpgid);
	struct pid *sid = BPF_CORE_READ(sig, pids[PIDTYPE_SID]);
	__s32 vsid;
	if (sid)
		read_pid(sid, level, &t->sid, &vsid);

	t->uid = BPF_CORE_READ(cred, euid.val);
	t->gid = BPF_CORE_READ(cred, egid.val);
	t->fsuid = BPF_CORE_READ(cred, fsuid.val);
	/* By address: what kernel_cap_t holds is called val from 6.3 on only. */
	bpf_probe_read_kernel(&t->cap_permitted, 8, __builtin_preserve_access_index(&cred->cap_permitted));
	bpf_probe_read_kernel(&t->cap_effective, 8, __builtin_preserve_access_index(&cred->cap_effective));
	bpf_probe_read_kernel(&t->cap_inheritable, 8, __builtin_preserve_access_index(&cred->cap_inheritable));
	t->loginuid = bpf_core_field_exists(ti->loginuid) ? BPF_CORE_READ(ti, loginuid.val) : (__u32)-1;
	t->fd_limit = BPF_CORE_READ(sig, rlim[RLIMIT_NOFILE].rlim_cur);
	struct tty_struct *tty = BPF_CORE_READ(sig, tty);
	if (tty) {
		__u32 major = BPF_CORE_READ(tty, driver, major);
		__u32 minor = BPF_CORE_READ(tty, driver, minor_start) + BPF_CORE_READ(tty, index);
		t->tty = (minor & 0xff) | (major << 8) | ((minor & ~0xffU) << 12); /* new_encode_dev, include/linux/kdev_t.h */
	}
	unsigned int flags = BPF_CORE_READ(task, flags);
	if (flags & PF_KTHREAD)
		t->flags |= TASK_KTHREAD;
	if (flags & PF_EXITING)
		t->flags |= TASK_EXITING;
	void *files = BPF_CORE_READ(leader, files); /* none when it has exited before the others */
	if (task != leader && files && BPF_CORE_READ(task, files) != files)
		t->flags |= TASK_OWN_FILES;

	s->exe.off = s->cwd.off = s->root.off = PATH_ROOM;
	s->exe.how = s->cwd.how = s->root.how = 0;
	if (task != leader && mm == BPF_CORE_READ(leader, mm) && fs == BPF_CORE_READ(leader, fs)) {
		t->flags |= TASK_INHERITS;
	} else {
		struct file *exe = mm ? BPF_CORE_READ(mm, exe_file) : NULL;
		if (exe) {
			struct inode *inode = BPF_CORE_READ(exe, f_inode);
			read_exe(t, cred, inode);
			iter_path__write(&s->exe, __builtin_preserve_access_index(&exe->f_path));
			s->exe.how |= iter_path__layer(inode);
		}
		if (fs) {
			iter_path__write(&s->cwd, __builtin_preserve_access_index(&fs->pwd));
			iter_path__write(&s->root, __builtin_preserve_access_index(&fs->root));
		}
	}
	t->exe_how = s->exe.how;
	t->cwd_how = s->cwd.how;
	t->root_how = s->root.how;
	t->exe_len = iter_path__len(&s->exe);
	t->cwd_len = iter_path__len(&s->cwd);
	t->root_len = iter_path__len(&s->root);
	__u32 len = sizeof(*t) + t->exe_len + t->cwd_len + t->root_len, pad = iter_path__padding(len);
	t->len = len + pad;

	/* When the output's buffer is full the kernel drops what this call wrote and calls again (bpf_seq_read,
	 * kernel/bpf/bpf_iter.c@v5.10): a task is never torn. */
	struct seq_file *seq = ctx->meta->seq;
	bpf_seq_write(seq, t, sizeof(*t));
	iter_path__put(seq, &s->exe);
	iter_path__put(seq, &s->cwd);
	iter_path__put(seq, &s->root);
	if (pad)
		bpf_seq_write(seq, &s->zero, pad & 7);
	return 0;
}
