// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * iter_task_file.bpf.c: iter/task_file: every open file of every process as a struct iter_file_head, for the snapshot at
 * start (kernels 5.10 and later).
 */
#include "iter_path.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set before loading. */
const volatile __u32 max_per_process = 1 << 16;
const volatile __u32 max_files = 1 << 20;

/* Read after the run. */
__u32 files, files_cut;

/* The process at hand. A file whose output didn't fit is shown again, and must be counted once. */
__s32 at_pid, at_tid, at_fd;
__u32 at_files;

struct scratch {
	struct iter_file_head f;
	struct iter_pathbuf path;
	__u64 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} iter_file_scratch SEC(".maps");

static __always_inline void read_unix(struct iter_file_head *f, struct iter_pathbuf *pb, struct sock *sk) {
	struct unix_sock *u = (void *)sk;
	struct unix_address___iter *addr = (void *)BPF_CORE_READ(u, addr);
	if (!addr) {
		/* The end that has no name of its own shows the one it is connected to. */
		struct unix_sock *peer = (void *)BPF_CORE_READ(u, peer);
		if (!peer)
			return;
		f->rport = 1;
		addr = (void *)BPF_CORE_READ(peer, addr);
		if (!addr)
			return;
	}
	__u32 n = BPF_CORE_READ(addr, len) - 2; /* without sun_family */
	if (n > 108)
		return;
	struct sockaddr_un___iter *name = __builtin_preserve_access_index(&addr->name[0]);
	*(volatile __u32 *)&pb->off = PATH_ROOM - (n & 127);
	__u64 o = *(volatile __u32 *)&pb->off;
	asm volatile("%0 &= 4095" : "+r"(o));
	asm volatile("%0 &= 127" : "+r"(n));
	char *dst = pb->b + o;
	asm volatile("" : "+r"(dst));
	if (n)
		bpf_probe_read_kernel(dst, n, __builtin_preserve_access_index(&name->sun_path));
}

static __always_inline void read_socket(struct iter_file_head *f, struct iter_pathbuf *pb, struct socket *sock) {
	struct sock *sk = BPF_CORE_READ(sock, sk);
	struct sock___iter *si = (void *)sk;
	if (!sk)
		return;
	f->type = BPF_CORE_READ(sock, type);
	f->proto = BPF_CORE_READ(sk, sk_protocol);
	f->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	f->state = BPF_CORE_READ(si, __sk_common.skc_state);
	if (bpf_core_field_exists(si->__sk_common.skc_net))
		f->netns = BPF_CORE_READ(si, __sk_common.skc_net.net, ns.inum);
	switch (f->family) {
	case AF_INET:
		bpf_probe_read_kernel(f->laddr, 4, __builtin_preserve_access_index(&sk->__sk_common.skc_rcv_saddr));
		bpf_probe_read_kernel(f->raddr, 4, __builtin_preserve_access_index(&sk->__sk_common.skc_daddr));
		break;
	case AF_INET6:
		if (bpf_core_field_exists(si->__sk_common.skc_v6_daddr)) {
			bpf_probe_read_kernel(f->laddr, 16, __builtin_preserve_access_index(&si->__sk_common.skc_v6_rcv_saddr));
			bpf_probe_read_kernel(f->raddr, 16, __builtin_preserve_access_index(&si->__sk_common.skc_v6_daddr));
		}
		break;
	case AF_UNIX:
		read_unix(f, pb, sk);
		return;
	default:
		return;
	}
	f->lport = BPF_CORE_READ(sk, __sk_common.skc_num);
	__u16 port = BPF_CORE_READ(sk, __sk_common.skc_dport);
	f->rport = __builtin_bswap16(port);
}

SEC("iter/task_file")
int iter_task_file(struct bpf_iter__task_file *ctx) {
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	__u32 key = 0, fd = ctx->fd;
	struct scratch *s = bpf_map_lookup_elem(&iter_file_scratch, &key);
	if (!task || !file || !s)
		return 0;
	/* A process's files are its main thread's; when that one has ended, any other's will do. */
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	if (task != leader && BPF_CORE_READ(leader, files))
		return 0;
	__s32 pid = BPF_CORE_READ(task, tgid), tid = BPF_CORE_READ(task, pid);
	if (pid != at_pid) {
		at_pid = pid;
		at_tid = tid;
		at_files = 0;
		at_fd = -1;
	} else if (tid != at_tid) {
		return 0;
	}
	if ((__s32)fd != at_fd) {
		at_fd = fd;
		if (at_files >= max_per_process || files >= max_files) {
			files_cut++;
			return 0;
		}
		at_files++;
		files++;
	}

	struct iter_file_head *f = &s->f;
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	__builtin_memset(f, 0, sizeof(*f));
	f->pid = pid;
	f->fd = fd;
	f->ino = BPF_CORE_READ(inode, i_ino);
	f->mode = BPF_CORE_READ(inode, i_mode);
	f->magic = BPF_CORE_READ(inode, i_sb, s_magic);
	__u32 dev = BPF_CORE_READ(inode, i_sb, s_dev);
	/* dev_t inside the kernel is major << 20 | minor; new_encode_dev, include/linux/kdev_t.h */
	f->dev = (dev & 0xff) | ((dev >> 20) << 8) | ((dev & 0xfff00) << 12);
	f->flags = BPF_CORE_READ(file, f_flags);

	struct iter_pathbuf *pb = &s->path;
	*(volatile __u32 *)&pb->off = PATH_ROOM;
	pb->how = 0;
	if (f->magic == SOCKFS_MAGIC)
		read_socket(f, pb, BPF_CORE_READ(file, private_data));
	else if (f->magic != NSFS_MAGIC) /* whose names moved from release to release: left to readlink */
		iter_path__write(pb, __builtin_preserve_access_index(&file->f_path));
	__u32 how = pb->how | iter_path__layer(inode);
	struct fdtable___iter *fdt = (void *)BPF_CORE_READ(task, files, fdt);
	unsigned long *bits = BPF_CORE_READ(fdt, close_on_exec), word = 0;
	bpf_probe_read_kernel(&word, sizeof(word), bits + fd / 64);
	if (word >> (fd & 63) & 1)
		how |= HOW_CLOEXEC;
	f->how = how;
	f->name_len = iter_path__len(pb);
	__u32 len = sizeof(*f) + f->name_len, pad = iter_path__padding(len);
	f->len = len + pad;

	struct seq_file *seq = ctx->meta->seq;
	bpf_seq_write(seq, f, sizeof(*f));
	iter_path__put(seq, pb);
	if (pad)
		bpf_seq_write(seq, &s->zero, pad & 7);
	return 0;
}
