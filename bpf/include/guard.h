/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* guard.h: which files are the sensor's, known by what they are and not by a name. */
#ifndef SHIKRA_GUARD_H
#define SHIKRA_GUARD_H

#define GUARDED 4096

struct guard_key {
	u64 ino;
	u32 dev, pad; /* as the kernel has it */
};
#define GUARD_OWN 1   /* a file or a folder of the sensor's */
#define GUARD_ABOVE 2 /* a folder above one */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, GUARDED);
	__type(key, struct guard_key);
	__type(value, u32);
} guarded SEC(".maps");

/* Of which kinds of hooks events are made of guarded files only, a bit each by GUARD_KIND_; changed while programs run. */
volatile u32 guard_only;
enum { GUARD_KIND_UNLINK, GUARD_KIND_RENAME, GUARD_KIND_SETATTR, GUARD_KIND_SETXATTR, GUARD_KIND_MOUNT };

/* The mount namespace of the sensor; set by the program self. */
volatile u64 self_mnt_ns;

/* What of the sensor's the inode is, GUARD_ bits; 0 for nothing. */
__inline_always u32 guard__of(struct inode *inode)
{
	struct guard_key k = {};
	if (!inode)
		return 0;
	k.ino = READ(inode, i_ino);
	k.dev = READ(READ(inode, i_sb), s_dev);
	u32 *what = bpf_map_lookup_elem(&guarded, &k);
	return what ? *what : 0;
}

/* The same of a name in a folder: also when the folder is the sensor's. */
__inline_always u32 guard__of_dentry(struct dentry *d)
{
	return guard__of(READ(d, d_inode)) | (guard__of(READ(READ(d, d_parent), d_inode)) & GUARD_OWN);
}

#endif
