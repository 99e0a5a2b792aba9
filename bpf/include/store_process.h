/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* store_process.h: the parameters that the exec and the clone events have in common. */
#ifndef SHIKRA_STORE_PROCESS_H
#define SHIKRA_STORE_PROCESS_H

#define EXE_WRITABLE 1
#define EXE_UPPER_LAYER 2
#define EXE_FROM_MEMFD 4
#define EXE_LOWER_LAYER 8

/* Stores exe and args as they lie in the task's memory, which must be that of the task that runs or a copy of it. */
__inline_always void store__exe_args(struct rec *r, struct task_struct *t)
{
	struct mm_struct *mm = READ(t, mm);
	u64 start = READ(mm, arg_start), end = READ(mm, arg_end);
	u64 before = *(volatile u64 *)&r->cpu->at;
	/* exe: ParamCharbuf */
	store__user_string(r, start);
	/* args: ParamBytebuf */
	store__user_strings(r, start + (*(volatile u64 *)&r->cpu->at - before), end);
}

/* How much memory there is: 0 of a kernel thread, which has none of its own. */
__inline_always void store__memory(struct rec *r, struct mm_struct *mm)
{
	u32 rss, swap;
	read__rss(mm, &rss, &swap);
	/* vm_size: ParamUint32, KiB */
	store__u32(r, PAGES_TO_KB(READ(mm, total_vm)));
	/* vm_rss: ParamUint32 */
	store__u32(r, rss);
	/* vm_swap: ParamUint32 */
	store__u32(r, swap);
}

/* From tid to comm. cwd is stored when there is one. */
__inline_always void store__process(struct rec *r, struct task_struct *t, bool cwd)
{
	/* tid: ParamPid */
	store__s64(r, READ(t, pid));
	/* pid: ParamPid */
	store__s64(r, READ(t, tgid));
	/* ptid: ParamPid */
	store__s64(r, read__parent(t));
	/* cwd: ParamCharbuf */
	if (cwd) {
		struct fs_struct *fs = READ(t, fs);
		store__dentry(r, READ(fs, pwd.dentry), READ(fs, pwd.mnt));
	} else {
		store__missing(r);
	}
	/* fdlimit: ParamUint64 or ParamInt64 */
	store__u64(r, READ(READ(t, signal), rlim[RLIMIT_NOFILE].rlim_cur));
	/* pgft_maj: ParamUint64 */
	store__u64(r, READ(t, maj_flt));
	/* pgft_min: ParamUint64 */
	store__u64(r, READ(t, min_flt));
	store__memory(r, READ(t, mm));
	/* comm: ParamCharbuf */
	store__kernel_string(r, t->comm, sizeof(t->comm));
	/* cgroups: ParamBytebuf */
	store__cgroups(r, t);
}

/* Whether one of the extents of a user namespace's map holds id. */
__inline_always bool exec__mapped(struct uid_gid_map *map, u32 id)
{
	u32 n = READ(map, nr_extents);
	for (int i = 0; i < 5; i++) {
		struct uid_gid_extent e = {};
		if (i >= n)
			return false;
		bpf_probe_read_kernel(&e, sizeof(e), (u8 *)&map->extent[0] + sizeof(e) * i);
		if (id - e.lower_first < e.count)
			return true;
	}
	return n > 5; /* more extents are kept elsewhere: taken for mapped */
}

/* Whether gid is one of the task's supplementary groups, which are sorted. */
__inline_always bool exec__in_groups(struct cpu *c, struct cred *cred, u32 gid)
{
	struct group_info *gi = READ(cred, group_info);
	u32 lo = 0, hi = READ(gi, ngroups);
	for (int i = 0; i < 17; i++) { /* NGROUPS_MAX is 65536 */
		lo = (u64)forget(&c->forget[0], lo);
		hi = (u64)forget(&c->forget[1], hi);
		if (lo >= hi)
			return false;
		u32 mid = (lo + hi) / 2, g = 0;
		bpf_probe_read_kernel(&g, sizeof(g), (u8 *)&gi->gid[0] + 4 * (u64)mid);
		if (g == gid)
			return true;
		if (g < gid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* Whether the task could write to the file it runs, were nobody running it: what inode_permission(MAY_WRITE) decides,
 * without POSIX ACLs and security modules (fs/namei.c). */
__inline_always bool exec__writable(struct cpu *c, struct cred *cred, struct inode *inode)
{
	u32 mode = READ(inode, i_mode), uid = READ(inode, i_uid.val), gid = READ(inode, i_gid.val);
	if (READ(READ(inode, i_sb), s_flags) & SB_RDONLY || READ(inode, i_flags) & S_IMMUTABLE || uid == ~0u || gid == ~0u)
		return false;
	if (READ(cred, fsuid.val) == uid)
		return true; /* the owner may give itself the right */
	if (mode & 0002)
		return true;
	if (mode & 0020 && (READ(cred, fsgid.val) == gid || exec__in_groups(c, cred, gid)))
		return true;
	u64 caps = read__caps(cred, CAPS_EFFECTIVE);
	if (!(caps & (1 << CAP_DAC_OVERRIDE | 1 << CAP_FOWNER)))
		return false;
	/* A capability holds for inodes whose owner the task's user namespace knows; the first one knows all. */
	struct user_namespace *ns = READ(cred, user_ns);
	if (READ(ns, level) == 0)
		return true;
	if (!exec__mapped(&ns->uid_map, uid))
		return false;
	return caps & 1 << CAP_FOWNER || exec__mapped(&ns->gid_map, gid);
}

/* Whether the file lives in memory only, made by memfd_create: a file that is its own parent, named memfd:…. */
__inline_always bool exec__from_memfd(struct file *f)
{
	struct dentry *d = READ(f, f_path.dentry);
	char name[8] = {};
	if (READ(d, d_parent) != d)
		return false;
	bpf_probe_read_kernel(name, 6, READ(d, d_name.name));
	return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' && name[5] == ':';
}

/* From tty to gid, the end of both exec events. */
__inline_always void store__exec(struct rec *r, struct task_struct *t)
{
	struct cred *cred = READ(t, cred);
	struct file *exe = READ(READ(t, mm), exe_file);
	struct inode *inode = READ(exe, f_inode);
	/* trusted_exepath: ParamFspath, 11 further on; first, as the verifier follows its loop once for each state it is met in */
	struct rec path = *r;
	path.i += 11;
	store__file_path(&path, exe);
	/* The flags are gathered in memory, so that each of these loops too is met in one state and not in a dozen. */
	volatile u64 *flags = &r->cpu->forget[2];
	*flags = exec__writable(r->cpu, cred, inode) ? EXE_WRITABLE : 0;
	*flags |= exec__from_memfd(exe) ? EXE_FROM_MEMFD : 0;
	enum layer layer = read__layer(inode, READ(inode, i_sb));
	*flags |= layer == LAYER_UPPER ? EXE_UPPER_LAYER : layer == LAYER_LOWER ? EXE_LOWER_LAYER : 0;
	/* tty: ParamUint32 */
	store__u32(r, read__tty(t));
	/* vpgid: ParamPid */
	store__s64(r, read__task_id(t, PIDTYPE_PGID, read__pid_level(t)));
	/* loginuid: ParamUid */
	store__u32(r, read__loginuid(t));
	/* flags: ParamFlags32 */
	store__u32(r, *flags);
	/* cap_inheritable: ParamUint64 */
	store__u64(r, read__caps(cred, CAPS_INHERITABLE));
	/* cap_permitted: ParamUint64 */
	store__u64(r, read__caps(cred, CAPS_PERMITTED));
	/* cap_effective: ParamUint64 */
	store__u64(r, read__caps(cred, CAPS_EFFECTIVE));
	/* exe_ino: ParamUint64 */
	store__u64(r, READ(inode, i_ino));
	/* exe_ino_ctime: ParamAbstime */
	store__u64(r, read__ctime(inode));
	/* exe_ino_mtime: ParamAbstime */
	store__u64(r, read__mtime(inode));
	/* uid: ParamUid */
	store__u32(r, READ(cred, euid.val));
	r->i++; /* trusted_exepath */
	/* pgid: ParamPid */
	store__s64(r, read__task_id(t, PIDTYPE_PGID, 0));
	/* gid: ParamGid */
	store__u32(r, READ(cred, egid.val));
}

/* From flags to pidns_init_start_ts, the end of the clone events. start is 0 but in the event of the child. */
__inline_always void store__clone(struct rec *r, struct task_struct *t, u32 flags, u64 start)
{
	struct cred *cred = READ(t, cred);
	u32 level = read__pid_level(t);
	/* flags: ParamFlags32 */
	store__u32(r, flags);
	/* uid: ParamUint32 */
	store__u32(r, READ(cred, euid.val));
	/* gid: ParamUint32 */
	store__u32(r, READ(cred, egid.val));
	/* vtid: ParamPid */
	store__s64(r, read__pid_at(READ(t, thread_pid), level));
	/* vpid: ParamPid */
	store__s64(r, read__task_id(t, PIDTYPE_TGID, level));
	/* pidns_init_start_ts: ParamUint64 */
	store__u64(r, start);
}

#endif
