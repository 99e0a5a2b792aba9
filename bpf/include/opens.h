/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * opens.h: which file a call opened, kept from the kernel's own decision (security_file_open) until the call ends.
 *
 * What an open's fd stands for when the call ends need not be what was opened: another thread may have put another file there.
 * Where the kernel's function can be attached to (programs/security.bpf.c), device and inode are kept, and the event has those.
 * Where exact_files isn't set, the verifier drops all of this.
 */
#ifndef SHIKRA_OPENS_H
#define SHIKRA_OPENS_H

/* What the kernel opened in the call under way: at first, and at last, should it have tried again or opened another file below. */
struct kept_open {
	u64 ino, first_ino;
	u32 dev, first_dev; /* as the kernel has them */
	u32 nr, what;       /* of the last: OPENED_ bits */
};
#define OPENED_CREATED 1
#define OPENED_UPPER 2
#define OPENED_LOWER 4

/* By thread. The loader makes room for NAMES. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct kept_open);
} opens SEC(".maps");

const volatile u32 exact_files;    /* not 0: opens are kept */
const volatile u8 opens_of[SLOTS]; /* which slots' calls open files */

/* Opens that weren't kept, as opens was full. */
volatile u64 opens_full;

__inline_always void opens__forget(u32 tid)
{
	bpf_map_delete_elem(&opens, &tid);
}

/* What an open leaves: device, inode, layer, whether it made the file. Zeros for a failed one. */
struct opened {
	u64 ino;
	u32 dev;
	enum layer layer;
	bool created;
	u16 origin; /* ORIGIN_ bits for its record */
};

/*
 * What the call, whose result is fd, opened: what was kept of it, or else what the fd stands for now. An open of a name alone
 * (O_PATH) isn't asked for.
 */
__inline_always struct opened read__opened(const struct call *c, s64 fd)
{
	struct opened o = {};
	if (fd < 0)
		return o;
	struct file *f = read__file(c->task, fd);
	if (f) {
		struct inode *inode = READ(f, f_inode);
		struct super_block *sb = READ(inode, i_sb);
		o.ino = READ(inode, i_ino);
		o.dev = READ(sb, s_dev);
		o.layer = read__layer(inode, sb);
		o.created = READ(f, f_mode) & FMODE_CREATED;
	}
	if (exact_files) {
		u32 tid = c->tid;
		struct kept_open *k = bpf_map_lookup_elem(&opens, &tid);
		if (k && k->nr == c->nr) {
			o.origin = ORIGIN_OPENED;
			if ((o.ino != k->ino || o.dev != k->dev) && (o.ino != k->first_ino || o.dev != k->first_dev)) {
				o.origin = ORIGIN_OPENED | ORIGIN_OTHER;
				o.ino = k->ino;
				o.dev = k->dev;
				o.created = k->what & OPENED_CREATED;
				o.layer = k->what & OPENED_UPPER ? LAYER_UPPER : k->what & OPENED_LOWER ? LAYER_LOWER : LAYER_NONE;
			}
		}
	}
	o.dev = read__dev(o.dev);
	return o;
}

#endif
