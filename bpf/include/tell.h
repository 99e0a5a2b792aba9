/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * tell.h: what a file is that a call acts on by an fd alone, in a record of its own just before the call's.
 *
 * An open that nobody can use makes no event (filter.h), so that state knows nothing of its fd. The calls that look at a file
 * without a name and are rare tell of it instead, as the kernel names it when they end: whether a filter is on or not, so that
 * what comes of their events is the same.
 */
#ifndef SHIKRA_TELL_H
#define SHIKRA_TELL_H

/* Whether exec closes fd of the task. */
__inline_always bool tell__cloexec(struct task_struct *t, u64 fd)
{
	struct fdtable *fdt = READ(READ(t, files), fdt);
	unsigned long word = 0;
	bpf_probe_read_kernel(&word, sizeof(word), READ(fdt, close_on_exec) + fd / (8 * sizeof(word)));
	return word >> (fd & (8 * sizeof(word) - 1)) & 1;
}

/* The path of an open file; what stands for a namespace has its kind for a name, "net". */
__inline_always void tell__path(struct rec *r, struct dentry *d, struct vfsmount *vm, struct inode *inode, bool ns)
{
	if (!ns) {
		store__dentry(r, d, vm);
		return;
	}
	struct ns_common *n = READ(inode, i_private);
	store__kernel_string(r, bpf_core_field_exists(n->ops) ? READ(READ(n, ops), name) : NULL, NAME_MAX);
}

/* Tells of what fd is, but for what no open makes, sockets, anonymous files and processes, and directories, which are always known. */
VERIFIED_ONCE int tell__fd(u64 fd, u64 tid, u64 slot)
{
	struct rec r;
	struct task_struct *t = read__task();
	struct cpu *cpu = submit__cpu();
	struct file *f = read__file(t, fd);
	if (!cpu || !f)
		return 0;
	struct inode *inode = READ(f, f_inode);
	struct super_block *sb = READ(inode, i_sb);
	u64 magic = READ(sb, s_magic);
	u32 mode = READ(inode, i_mode);
	if (magic == SOCKFS_MAGIC || magic == ANON_INODE_FS_MAGIC || magic == PID_FS_MAGIC || (mode & S_IFMT) == S_IFDIR)
		return 0;
	struct dentry *d = READ(f, f_path.dentry);
	struct vfsmount *vm = READ(f, f_path.mnt);
	bool ns = magic == NSFS_MAGIC;
	enum layer layer = read__layer(inode, sb);
	if (!submit__begin(&r, cpu, TASK_FILE_X, TASK_FILE_X_N, TASK_FILE_X_END, tid, NO_NR, 0, slot))
		return 0;
	/* fd: ParamFd32 */
	store__s32(&r, fd);
	/* path: ParamFspath, from the root of the thread's mount namespace */
	tell__path(&r, d, vm, inode, ns);
	/* flags: ParamFlags32 */
	store__u32(&r, (flags__open(READ(f, f_flags)) & ~F_CLOEXEC) | (tell__cloexec(t, fd) ? F_CLOEXEC : 0) |
			       (layer == LAYER_UPPER ? F_UPPER_LAYER : layer == LAYER_LOWER ? F_LOWER_LAYER : 0));
	/* mode: ParamUint32, with the kind of file */
	store__u32(&r, mode);
	/* dev: ParamUint32 */
	store__u32(&r, read__dev(READ(sb, s_dev)));
	/* ino: ParamUint64 */
	store__u64(&r, READ(inode, i_ino));
	submit__scratch(&r);
	return 0;
}

/* Tells of the file that argument i of the call is. */
__inline_always void tell__file(const struct call *c, u32 i)
{
	s32 fd = read__int(c, i);
	if (fd >= 0)
		tell__fd(fd, c->tid, c->slot);
}

#endif
