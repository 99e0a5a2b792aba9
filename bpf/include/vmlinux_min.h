/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * vmlinux_min.h: the kernel's types, trimmed by hand to the fields that shikra reads.
 *
 * CO-RE relocates fields by name, so a struct needs no other member than those used, in any order; sizes of the members
 * must be the kernel's. A type that changed in a way that names can't bridge has a second form with a ___suffix, which
 * CO-RE leaves out of the name. Constants of the user-space ABI stand here too; they never change.
 */
#ifndef SHIKRA_VMLINUX_MIN_H
#define SHIKRA_VMLINUX_MIN_H
#define __VMLINUX_H__ 1 /* tells bpf_tracing.h that kernel names are in use */

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef __u16 __le16, __be16, __sum16;
typedef __u32 __le32, __be32, __wsum;
typedef __u64 __le64, __be64;
typedef _Bool bool;
typedef int pid_t;
typedef unsigned short umode_t;
typedef u32 dev_t;
typedef long long loff_t;
#define true 1
#define false 0
#define NULL ((void *)0)

#define __inline_always static __always_inline

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_F_NO_PREALLOC = 1, BPF_F_MMAPABLE = 1 << 10 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0, BPF_RB_RING_SIZE = 1, BPF_RB_CONS_POS = 2, BPF_RB_PROD_POS = 3 };

/* Only the members whose existence is asked for; the values are relocated. */
enum bpf_func_id {
	BPF_FUNC_get_current_task_btf = 158, /* 5.11 */
	BPF_FUNC_task_pt_regs = 175,         /* 5.15 */
};

enum cgroup_subsys_id { cpuset_cgrp_id, cpu_cgrp_id, cpuacct_cgrp_id, io_cgrp_id, memory_cgrp_id };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	u32 val;
} kuid_t;
typedef struct {
	u32 val;
} kgid_t;
typedef struct {
	int counter;
} atomic_t;
typedef struct {
	s64 counter;
} atomic64_t; /* atomic_long_t is the same on 64-bit kernels */
struct list_head {
	struct list_head *next, *prev;
};
struct hlist_bl_node {
	struct hlist_bl_node *next, **pprev;
};
struct timespec64 {
	s64 tv_sec;
	long tv_nsec;
};

/* Files. */
struct dentry;
struct inode;
struct qstr {
	u32 len;
	const unsigned char *name;
};
struct super_block {
	dev_t s_dev;
	unsigned long s_flags;
	unsigned long s_magic;
	struct dentry *s_root;
};
struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
};
struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
	int mnt_flags;
};
struct mnt_namespace;
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns;
	int mnt_group_id;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct inode {
	umode_t i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	unsigned int i_flags;
	struct super_block *i_sb;
	unsigned long i_ino;
	dev_t i_rdev;
	void *i_private;
	struct timespec64 i_ctime, i_mtime; /* up to 6.5 and 6.6 */
};
struct inode___6_7 {
	struct timespec64 __i_ctime, __i_mtime; /* from 6.6 and 6.7 up to 6.10 */
};
struct inode___6_11 {
	s64 i_mtime_sec, i_ctime_sec;
	u32 i_mtime_nsec, i_ctime_nsec;
};
struct iattr {
	unsigned int ia_valid;
	umode_t ia_mode;
};
struct file_operations;
struct cred;
struct file {
	struct path f_path;
	struct inode *f_inode;
	const struct file_operations *f_op;
	unsigned int f_flags;
	unsigned int f_mode;
	void *private_data;
	loff_t f_pos;
	struct cred *f_cred;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
	unsigned long *close_on_exec;
};
struct files_struct {
	atomic_t count;
	struct fdtable *fdt;
};
struct fs_struct {
	struct path root, pwd;
};

/* Tasks. */
struct thread_info {
	unsigned long flags;
	u32 status; /* x86 only */
};
struct rlimit {
	unsigned long rlim_cur, rlim_max;
};
struct pid_namespace;
struct upid {
	int nr;
	struct pid_namespace *ns;
};
struct pid {
	unsigned int level;
	struct upid numbers[1];
};
struct proc_inode {
	struct pid *pid;
	struct inode vfs_inode;
};
struct bpf_map {
	u32 id;
};
struct bpf_prog_aux {
	u32 id;
};
struct bpf_prog {
	struct bpf_prog_aux *aux;
};
struct bpf_link {
	u32 id;
};
struct task_struct;
struct pid_namespace {
	unsigned int level;
	struct task_struct *child_reaper;
};
struct proc_ns_operations {
	char *name;
};
struct ns_common {
	struct proc_ns_operations *ops;
};
struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
};
struct tty_driver {
	int major, minor_start;
};
struct tty_struct {
	struct tty_driver *driver;
	int index;
};
struct signal_struct {
	atomic_t live;
	struct list_head thread_head;
	unsigned int flags;
	struct pid *pids[4];
	struct tty_struct *tty;
	struct rlimit rlim[16];
	unsigned int is_child_subreaper : 1;
	unsigned int has_child_subreaper : 1;
};
typedef struct {
	u64 val; /* before 6.3 two u32 called cap, the low one first: the same bytes */
} kernel_cap_t;
struct uid_gid_extent {
	u32 first, lower_first, count;
};
struct uid_gid_map {
	u32 nr_extents;
	struct uid_gid_extent extent[5];
};
struct user_namespace {
	struct uid_gid_map uid_map, gid_map;
	int level;
};
struct group_info {
	int ngroups;
	kgid_t gid[1];
};
struct cred {
	kuid_t uid, euid, fsuid;
	kgid_t gid, egid, fsgid;
	kernel_cap_t cap_inheritable, cap_permitted, cap_effective;
	struct user_namespace *user_ns;
	struct group_info *group_info;
};
struct mm_rss_stat {
	atomic64_t count[4];
};
struct mm_struct___5 {
	struct mm_rss_stat rss_stat; /* up to 6.1 */
};
struct percpu_counter {
	s64 count;
};
struct mm_struct {
	struct file *exe_file;
	unsigned long arg_start, arg_end, env_start, env_end;
	unsigned long total_vm;
	struct percpu_counter rss_stat[4]; /* from 6.2 */
};
struct kernfs_node {
	struct kernfs_node *parent;
	const char *name;
};
struct kernfs_node___6_15 {
	struct kernfs_node *__parent;
};
struct cgroup_root;
struct cgroup_subsys {
	const char *name;
};
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys *ss;
	u64 serial_nr;
};
struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};
struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};
struct sighand_struct;
struct k_sigaction;
struct kernel_siginfo {
	int si_signo, si_errno, si_code;
	union __sifields {
		struct {
			pid_t _pid;
		} _kill;
	} _sifields;
};
struct task_struct {
	struct thread_info thread_info;
	void *stack;
	unsigned int flags, ptrace;
	int exit_code;
	pid_t pid, tgid;
	struct task_struct *real_parent, *group_leader;
	struct list_head children, thread_node;
	struct pid *thread_pid;
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct sighand_struct *sighand;
	struct cred *cred;
	struct css_set *cgroups;
	kuid_t loginuid;
	unsigned long min_flt, maj_flt;
	u64 start_time, start_boottime;
	char comm[16];
};
struct filename {
	const char *name, *uptr; /* uptr up to 6.19 */
};
struct linux_binprm {
	struct file *file;
	const char *filename;
	const char *fdpath;
	struct cred *cred;
};

/* Sockets. */
struct in6_addr {
	u8 b[16];
};
struct sock_common {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	u32 sk_ack_backlog, sk_max_ack_backlog;
	u16 sk_type, sk_protocol;
};
struct socket {
	short type;
	struct sock *sk;
};
struct ipv6_pinfo {
	struct in6_addr saddr;
};
struct inet_sock {
	struct sock sk;
	struct ipv6_pinfo *pinet6;
	__be32 inet_saddr;
	__be16 inet_sport;
};
struct sockaddr_un {
	u16 sun_family;
	char sun_path[108];
};
struct unix_address {
	int len;
	struct sockaddr_un name[1];
};
struct unix_sock {
	struct sock sk;
	struct unix_address *addr;
	struct sock *peer;
};

/* Registers of a system call: the only part that differs between architectures. */
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di, si, dx, r10, r8, r9, bx, cx, bp, ax, orig_ax, ip;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
};
#elif defined(__TARGET_ARCH_arm)
struct pt_regs; /* u32 uregs[18], read by place */
#elif defined(__TARGET_ARCH_riscv)
struct pt_regs {
	unsigned long a1, a2, a3, a4, a5, a7, orig_a0;
};
#else
#error "no registers for this architecture"
#endif

/* Iterators. */
struct seq_file {
	char *buf;
	unsigned long size, count; /* size_t */
};
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id, seq_num;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

#pragma clang attribute pop

/* Named by helper prototypes, never looked into. */
struct bpf_perf_event_data;
struct bpf_sock_addr;
struct bpf_timer;
struct bpf_dynptr;
struct __sk_buff;

/* include/uapi/linux/errno.h, stat.h, magic.h, sched.h; include/linux/errno.h, fs.h */
#define EINTR 4
#define EINPROGRESS 115
#define ERESTARTSYS 512
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFLNK 0120000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define SOCKFS_MAGIC 0x534F434B
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define PROC_SUPER_MAGIC 0x9fa0
#define PID_FS_MAGIC 0x50494446 /* from 6.9 */
#define NSFS_MAGIC 0x6e736673
#define ANON_INODE_FS_MAGIC 0x09041934
#define FMODE_CREATED 0x100000
#define FMODE_NOACCOUNT 0x20000000 /* the kernel's own, behind one of a program's: what an overlay opens below */
#define SB_RDONLY 1
#define S_IMMUTABLE 8
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000
#define SIGNAL_GROUP_EXIT 0x00000004 /* include/linux/sched/signal.h */
#define RLIMIT_NOFILE 7
#define CAP_DAC_OVERRIDE 1
#define CAP_FOWNER 3
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID };
enum { MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES };

#endif
