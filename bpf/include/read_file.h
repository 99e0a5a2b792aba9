/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* read_file.h: from an fd to its file, and what the file's inode says. */
#ifndef SHIKRA_READ_FILE_H
#define SHIKRA_READ_FILE_H

#if defined(__TARGET_ARCH_arm)
#define KERNEL_POINTER 4
#else
#define KERNEL_POINTER 8
#endif

/* The file that fd of the task stands for; NULL for none. It may be closed by another thread at any time. */
__inline_always struct file *read__file(struct task_struct *t, s64 fd)
{
#ifdef URING
	if (fd == URING_FIXED)
		return uring__file();
#endif
	struct fdtable *fdt = READ(READ(t, files), fdt);
	if ((u64)fd >= READ(fdt, max_fds))
		return NULL;
	/* READ takes fields of kernel types: an entry of the array is read as one whose first field is a pointer, too. */
	struct list_head *entry = (void *)((u8 *)READ(fdt, fd) + KERNEL_POINTER * (u64)fd);
	return (struct file *)READ(entry, next);
}

#ifdef URING
#define IO_WORKER 0x10 /* PF_IO_WORKER, include/linux/sched.h: a thread that the kernel made for a ring */
#endif

/*
 * Whether fd of t, the task that runs, stands for something although a call that ends has closed it: another thread got the
 * number meanwhile, or the call didn't close it, whatever it says, since it was refused, cancelled, or never run (seccomp, ptrace).
 * A worker of an io_uring has the table that its maker had when it was made, which may be another's by now.
 */
__inline_always bool read__may_be_open(struct task_struct *t, s64 fd)
{
#ifdef URING
	if (READ(t, flags) & IO_WORKER)
		return true;
#endif
	return read__file(t, fd);
}

enum layer { LAYER_NONE, LAYER_UPPER, LAYER_LOWER };

/*
 * Which layer of an overlay holds the inode. What overlayfs adds to an inode stands in its module's own type, which needs
 * that module's BTF; but since 4.19 the upper layer's dentry has been the first word after the VFS inode
 * (struct ovl_inode, fs/overlayfs/ovl_entry.h).
 */
__inline_always enum layer read__layer(struct inode *inode, struct super_block *sb)
{
	struct dentry *upper = NULL;
	if (READ(sb, s_magic) != OVERLAYFS_SUPER_MAGIC)
		return LAYER_NONE;
	bpf_probe_read_kernel(&upper, KERNEL_POINTER, (u8 *)inode + bpf_core_type_size(struct inode));
	return upper && READ(upper, d_inode) ? LAYER_UPPER : LAYER_LOWER;
}

/* The inode number of what fd stands for, 0 for none. */
__inline_always u64 read__ino(s64 fd)
{
	struct file *f = read__file(read__task(), fd);
	return f ? READ(READ(f, f_inode), i_ino) : 0;
}

__inline_always u64 read__ns(s64 sec, s64 nsec)
{
	return sec < 0 ? 0 : (u64)sec * 1000000000 + nsec;
}

/* Times of the inode, ns since the epoch. The fields became private in 6.6 and 6.7, and split in 6.11. */
__inline_always u64 read__ctime(struct inode *i)
{
	struct timespec64 t = {};
	struct inode___6_7 *i67 = (void *)i;
	struct inode___6_11 *i611 = (void *)i;
	if (bpf_core_field_exists(i611->i_ctime_sec)) {
		s64 sec = 0;
		u32 nsec = 0;
		bpf_probe_read_kernel(&sec, sizeof(sec), &i611->i_ctime_sec);
		bpf_probe_read_kernel(&nsec, sizeof(nsec), &i611->i_ctime_nsec);
		return read__ns(sec, nsec & 0x3fffffff); /* the top bits are flags (I_CTIME_QUERIED, 6.13) */
	}
	if (bpf_core_field_exists(i67->__i_ctime))
		bpf_probe_read_kernel(&t, sizeof(t), &i67->__i_ctime);
	else if (bpf_core_field_exists(i->i_ctime))
		bpf_probe_read_kernel(&t, sizeof(t), &i->i_ctime);
	return read__ns(t.tv_sec, t.tv_nsec);
}

__inline_always u64 read__mtime(struct inode *i)
{
	struct timespec64 t = {};
	struct inode___6_7 *i67 = (void *)i;
	struct inode___6_11 *i611 = (void *)i;
	if (bpf_core_field_exists(i611->i_mtime_sec)) {
		s64 sec = 0;
		u32 nsec = 0;
		bpf_probe_read_kernel(&sec, sizeof(sec), &i611->i_mtime_sec);
		bpf_probe_read_kernel(&nsec, sizeof(nsec), &i611->i_mtime_nsec);
		return read__ns(sec, nsec);
	}
	if (bpf_core_field_exists(i67->__i_mtime))
		bpf_probe_read_kernel(&t, sizeof(t), &i67->__i_mtime);
	else if (bpf_core_field_exists(i->i_mtime))
		bpf_probe_read_kernel(&t, sizeof(t), &i->i_mtime);
	return read__ns(t.tv_sec, t.tv_nsec);
}

/* The first eight bytes of the name of a file that has no place in a file system: "bpf-map", "[pidfd]". */
__inline_always u64 read__anon_name(struct file *f)
{
	u64 name = 0;
	bpf_probe_read_kernel_str(&name, sizeof(name), READ(READ(f, f_path.dentry), d_name.name));
	return name;
}

/* A name of up to seven letters as read__anon_name gives it, little-endian as all our machines are. */
#define ANON_NAME(a, b, c, d, e, f, g)                                                                                 \
	((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 | (u64)(e) << 32 | (u64)(f) << 40 | (u64)(g) << 48)

/*
 * The struct pid of the process that a pidfd, or a directory /proc/PID, stands for; NULL for what is neither. A pidfd was an anonymous file
 * that held it until pidfs came (6.9, fs/pidfs.c), where the inode does.
 */
__inline_always struct pid *read__pidfd(s64 fd)
{
	struct file *f = read__file(read__task(), fd);
	if (!f)
		return NULL;
	struct inode *inode = READ(f, f_inode);
	u64 magic = READ(READ(inode, i_sb), s_magic);
	if (magic == PID_FS_MAGIC)
		return READ(inode, i_private);
	if (magic == PROC_SUPER_MAGIC) {
		struct proc_inode *pi = (void *)inode - bpf_core_field_offset(struct proc_inode, vfs_inode);
		return READ(pi, pid);
	}
	if (read__anon_name(f) == ANON_NAME('[', 'p', 'i', 'd', 'f', 'd', ']'))
		return READ(f, private_data);
	return NULL;
}

/* The same process's number in the first namespace; -1 for none. */
__inline_always s64 read__pidfd_number(s64 fd)
{
	struct pid *pid = read__pidfd(fd);
	return pid ? read__pid_at(pid, 0) : -1;
}

/* The kinds of BPF objects, by the event format's numbers. */
enum bpf_object { BPF_OBJECT_NONE, BPF_OBJECT_MAP, BPF_OBJECT_PROG, BPF_OBJECT_LINK, BPF_OBJECT_BTF };

/* What kind of BPF object fd stands for, and which by its id. */
__inline_always enum bpf_object read__bpf_object(s64 fd, u32 *id)
{
	struct file *f = read__file(read__task(), fd);
	if (!f)
		return BPF_OBJECT_NONE;
	void *p = READ(f, private_data);
	switch (read__anon_name(f)) {
	case ANON_NAME('b', 'p', 'f', '-', 'm', 'a', 'p'):
		*id = READ((struct bpf_map *)p, id);
		return BPF_OBJECT_MAP;
	case ANON_NAME('b', 'p', 'f', '-', 'p', 'r', 'o'):
		*id = READ(READ((struct bpf_prog *)p, aux), id);
		return BPF_OBJECT_PROG;
	case ANON_NAME('b', 'p', 'f', '_', 'l', 'i', 'n'):
		*id = READ((struct bpf_link *)p, id);
		return BPF_OBJECT_LINK;
	}
	return BPF_OBJECT_NONE;
}

/* The socket that fd stands for; NULL when it isn't one. */
__inline_always struct sock *read__sock(s64 fd)
{
	struct file *f = read__file(read__task(), fd);
	if (!f)
		return NULL;
	struct inode *inode = READ(f, f_inode);
	/* An inode of a socket's name in a file system has the mode too, but no socket behind its file. */
	if ((READ(inode, i_mode) & S_IFMT) != S_IFSOCK || READ(READ(inode, i_sb), s_magic) != SOCKFS_MAGIC)
		return NULL;
	return READ((struct socket *)READ(f, private_data), sk);
}

#endif
