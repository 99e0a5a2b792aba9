/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * iter_types.h: what the iterators hand to user space, and the kernel types that only they read.
 *
 * The ___iter forms name more members of types that vmlinux_min.h has too; CO-RE leaves the suffix out of the name.
 */
#ifndef SHIKRA_ITER_TYPES_H
#define SHIKRA_ITER_TYPES_H

#include "vmlinux_min.h"

/* How a path came out, in how. */
enum {
	HOW_PSEUDO = 1,  /* the file has no path: the bytes are its dentry's name */
	HOW_DELETED = 2, /* no longer linked */
	HOW_CUT = 4,     /* deeper than PATH_DEPTH, longer than PATH_ROOM, or disconnected */
	HOW_UPPER = 8,   /* in an overlay's upper layer */
	HOW_LOWER = 16,  /* in an overlay's lower layer only */
	HOW_CLOEXEC = 32,
};

/* iter_task_head.flags */
enum {
	TASK_KTHREAD = 1,
	TASK_INHERITS = 2,  /* a thread with its leader's memory and directories: no paths follow */
	TASK_OWN_FILES = 4, /* its fd table is not its leader's */
	TASK_EXE_GROUP = 8, /* one of its groups is the executable's */
	TASK_EXE_FIXED = 16, /* the executable is immutable or on a read-only file system */
	TASK_EXITING = 32,   /* in do_exit, or past it */
};

/* One task: this, then exe_len, cwd_len and root_len bytes. The layout is the same on every architecture. */
struct iter_task_head {
	__u64 clone_ts;      /* ns of boot time */
	__u64 pidns_init_ts; /* ns of boot time */
	__u64 exe_ino;
	__u64 exe_ctime, exe_mtime; /* ns since the epoch */
	__u64 cap_permitted, cap_effective, cap_inheritable;
	__u64 fd_limit;
	__u64 css; /* the same for tasks in the same cgroups, */
	__u64 files, fs; /* that share their fds, and their directories; 0 for a task that has none any more */
	__u32 len; /* bytes in all, a multiple of 8 */
	__s32 tid, pid, ptid, vtid, vpid, pgid, vpgid, sid;
	__u32 uid, gid, loginuid;
	__u32 fsuid;
	__u32 tty;
	__u32 flags;
	__u32 ns_level; /* of its pid namespace */
	__u32 nr_threads;
	__u32 exit_state;
	__u32 exe_uid, exe_mode;
	__u16 exe_len, cwd_len, root_len;
	__u8 exe_how, cwd_how, root_how;
	__u8 comm[16];
	__u8 pad[7];
};

/* One open file: this, then name_len bytes. */
struct iter_file_head {
	__u64 ino;
	__u32 len;     /* bytes in all, a multiple of 8 */
	__s32 pid, fd;
	__u32 mode, dev, flags, magic;
	__u32 netns;
	__u16 name_len;
	__u16 how;
	__u16 family, type, proto, state;
	__u16 lport, rport; /* local and remote, host order */
	__u8 laddr[16], raddr[16];
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common___iter {
	unsigned int inum;
};
struct net___iter {
	struct ns_common___iter ns;
};
typedef struct {
	struct net___iter *net;
} possible_net_t___iter;
struct fdtable___iter {
	unsigned long *close_on_exec;
};
struct signal_struct___iter {
	int nr_threads;
};
struct task_struct___iter {
	int exit_state;
	const struct cred *real_cred;
	kuid_t loginuid;
};
struct sock_common___iter {
	unsigned char skc_state;
	possible_net_t___iter skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};
struct sock___iter {
	struct sock_common___iter __sk_common;
};
struct sockaddr_un___iter {
	unsigned short sun_family;
	char sun_path[108];
};
struct unix_address___iter {
	int len;
	struct sockaddr_un___iter name[];
};

#pragma clang attribute pop

#define NSFS_MAGIC 0x6e736673

#endif
