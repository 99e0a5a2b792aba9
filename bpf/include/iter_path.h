/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * iter_path.h: the path of a struct path, written backwards by walking dentries and mounts.
 *
 * bpf_d_path would do, but iterators may call it from 5.12 on only; the walk works from 5.3 (bounded loops). The name is
 * the one that readlink of /proc/PID/fd/N gives to a reader in the initial mount namespace.
 */
#ifndef SHIKRA_ITER_PATH_H
#define SHIKRA_ITER_PATH_H

#include "iter_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define PATH_ROOM 4096
#define PATH_DEPTH 48

/*
 * INVARIANT: off <= PATH_ROOM, the path is b[off..PATH_ROOM). The offset lives in map memory, not in a register: every
 * turn of the loop then looks the same to the verifier (an unknown number), and its paths join. b is twice as long as
 * needed so that a masked offset plus a masked length always fits, which is all that the verifier sees.
 */
struct iter_pathbuf {
	__u32 off;
	__u32 how;
	char b[2 * PATH_ROOM];
};

static __always_inline bool iter_path__prepend(struct iter_pathbuf *pb, const unsigned char *name, __u32 len, bool slash) {
	len &= 255;
	__u32 off = *(volatile __u32 *)&pb->off - len - slash;
	if (off >= PATH_ROOM)
		return false;
	__u64 o = off;
	asm volatile("%0 &= 4095" : "+r"(o)); /* the bound the verifier sees; not to be undone by the compiler */
	char *dst = pb->b + o;
	asm volatile("" : "+r"(dst));
	if (slash)
		*dst++ = '/';
	bpf_probe_read_kernel(dst, len, name);
	*(volatile __u32 *)&pb->off = off;
	return true;
}

/* Overlay: the inode is the start of struct ovl_inode's tail, whose next member is the upper dentry (fs/overlayfs/ovl_entry.h@v6.12). */
static __always_inline __u32 iter_path__layer(struct inode *inode) {
	if (BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_SUPER_MAGIC)
		return 0;
	struct dentry *upper = NULL;
	bpf_probe_read_kernel(&upper, sizeof(upper), (char *)inode + bpf_core_type_size(struct inode));
	if (upper && BPF_CORE_READ(upper, d_inode))
		return HOW_UPPER;
	return HOW_LOWER;
}

/* Writes the path of p (a kernel address) to pb. */
static __always_inline void iter_path__write(struct iter_pathbuf *pb, struct path *p) {
	struct dentry *d = BPF_CORE_READ(p, dentry);
	struct vfsmount *vm = BPF_CORE_READ(p, mnt);
	struct mount *m = (void *)vm - bpf_core_field_offset(struct mount, mnt);
	struct dentry *root = BPF_CORE_READ(vm, mnt_root);
	*(volatile __u32 *)&pb->off = PATH_ROOM;
	pb->how = 0;
	if (!d)
		return;
	struct dentry *parent = BPF_CORE_READ(d, d_parent);
	if (d == parent && d != root) {
		pb->how = HOW_PSEUDO;
		iter_path__prepend(pb, BPF_CORE_READ(d, d_name.name), BPF_CORE_READ(d, d_name.len), false);
		return;
	}
	if (d != parent && !BPF_CORE_READ(d, d_hash.pprev))
		pb->how = HOW_DELETED;
	int i;
	for (i = 0; i < PATH_DEPTH; i++) {
		struct dentry *up = BPF_CORE_READ(d, d_parent);
		if (d == root) {
			struct mount *mp = BPF_CORE_READ(m, mnt_parent);
			if (mp == m)
				break;
			d = BPF_CORE_READ(m, mnt_mountpoint);
			m = mp;
			root = BPF_CORE_READ(m, mnt.mnt_root);
			continue;
		}
		if (d == up || !iter_path__prepend(pb, BPF_CORE_READ(d, d_name.name), BPF_CORE_READ(d, d_name.len), true)) {
			pb->how |= HOW_CUT;
			return;
		}
		d = up;
	}
	if (i == PATH_DEPTH)
		pb->how |= HOW_CUT;
	else if (*(volatile __u32 *)&pb->off == PATH_ROOM)
		iter_path__prepend(pb, NULL, 0, true);
}

static __always_inline __u32 iter_path__len(struct iter_pathbuf *pb) {
	return PATH_ROOM - *(volatile __u32 *)&pb->off;
}

/* Appends the path to the iterator's output. */
static __always_inline void iter_path__put(struct seq_file *seq, struct iter_pathbuf *pb) {
	__u64 o = *(volatile __u32 *)&pb->off, n = PATH_ROOM - o;
	if (!n)
		return;
	asm volatile("%0 &= 4095" : "+r"(o));
	asm volatile("%0 &= 4095" : "+r"(n));
	char *src = pb->b + o;
	asm volatile("" : "+r"(src));
	bpf_seq_write(seq, src, n);
}

/* Pads the output of len bytes to a multiple of 8. */
static __always_inline __u32 iter_path__padding(__u32 len) {
	return -len & 7;
}

#endif
