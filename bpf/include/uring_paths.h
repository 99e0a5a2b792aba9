/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * uring_paths.h: the paths that operations are told, kept from the copies that the kernel makes of them for itself.
 */
#ifndef SHIKRA_URING_PATHS_H
#define SHIKRA_URING_PATHS_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* What operations on paths hold, at the request's beginning: the kernel's copies. */
struct delayed_filename {
	struct filename *__incomplete_filename;
};
struct io_open {
	struct filename *filename;
};
struct io_unlink {
	struct filename *filename;
};
struct io_mkdir {
	struct filename *filename;
};
struct io_rename {
	struct filename *oldpath, *newpath;
};
struct io_link { /* symlinkat and linkat; up to 5.19 the two below */
	struct filename *oldpath, *newpath;
};
struct io_symlink {
	struct filename *oldpath, *newpath;
};
struct io_hardlink {
	struct filename *oldpath, *newpath;
};
struct io_open___7 { /* from 7.0 */
	struct delayed_filename filename;
};
struct io_unlink___7 {
	struct delayed_filename filename;
};
struct io_mkdir___7 {
	struct delayed_filename filename;
};
struct io_rename___7 {
	struct delayed_filename oldpath, newpath;
};
struct io_link___7 {
	struct delayed_filename oldpath, newpath;
};

#pragma clang attribute pop

/* Keeps one path. */
__inline_always void uring__keep_path(u64 req, u32 i, struct filename *f)
{
	u64 key = uring__path_key(req, i);
	u32 zero = 0;
	struct uring_path *p = bpf_map_lookup_elem(&uring_no_path, &zero);
	if (!p || bpf_map_update_elem(&uring_paths, &key, p, BPF_ANY))
		return;
	p = bpf_map_lookup_elem(&uring_paths, &key);
	if (!p)
		return;
	s64 n = bpf_probe_read_kernel_str(p->s, PATH_MAX, READ(f, name));
	if (n > 0)
		p->len = n;
	else
		bpf_map_delete_elem(&uring_paths, &key);
}

/* The kernel's copy of a path in type's member at the request's beginning; NULL where the kernel has none there. */
#define URING_FILENAME(req, type, member)                                                                              \
	({                                                                                                             \
		struct filename *__f = NULL;                                                                           \
		struct type *__r = (void *)(req);                                                                      \
		if (bpf_core_field_exists(__r->member))                                                                \
			bpf_probe_read_kernel(&__f, KERNEL_POINTER, &__r->member);                                     \
		__f;                                                                                                   \
	})
#define URING_FILENAME7(req, type, member)                                                                             \
	({                                                                                                             \
		struct filename *__g = URING_FILENAME(req, type, member);                                              \
		struct type##___7 *__s = (void *)(req);                                                                \
		if (bpf_core_type_exists(struct delayed_filename) && bpf_core_field_exists(__s->member))               \
			bpf_probe_read_kernel(&__g, KERNEL_POINTER, &__s->member);                                     \
		__g;                                                                                                   \
	})

/* Keeps the paths of the request; false when the kernel has no copies of them. */
__inline_always bool uring__keep_paths(u64 req, u32 opcode)
{
	struct filename *a = NULL, *b = NULL;
	u32 i = 1, j = 3;
	switch (opcode) {
	case OP_OPENAT:
	case OP_OPENAT2:
		a = URING_FILENAME7(req, io_open, filename);
		break;
	case OP_UNLINKAT:
		a = URING_FILENAME7(req, io_unlink, filename);
		break;
	case OP_MKDIRAT:
		a = URING_FILENAME7(req, io_mkdir, filename);
		break;
	case OP_RENAMEAT:
		a = URING_FILENAME7(req, io_rename, oldpath);
		b = URING_FILENAME7(req, io_rename, newpath);
		break;
	case OP_LINKAT:
		a = URING_FILENAME7(req, io_link, oldpath);
		b = URING_FILENAME7(req, io_link, newpath);
		if (!a) {
			a = URING_FILENAME(req, io_hardlink, oldpath);
			b = URING_FILENAME(req, io_hardlink, newpath);
		}
		break;
	case OP_SYMLINKAT:
		i = 0, j = 2;
		a = URING_FILENAME7(req, io_link, oldpath);
		b = URING_FILENAME7(req, io_link, newpath);
		if (!a) {
			a = URING_FILENAME(req, io_symlink, oldpath);
			b = URING_FILENAME(req, io_symlink, newpath);
		}
		break;
	default:
		return false;
	}
	if (!a)
		return false;
	uring__keep_path(req, i, a);
	if (b)
		uring__keep_path(req, j, b);
	return true;
}

__inline_always void uring__forget_paths(u64 req)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		u64 key = uring__path_key(req, i);
		bpf_map_delete_elem(&uring_paths, &key);
	}
}

#endif
