/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * store_path.h: absolute paths, of files and of cgroups, built from their last name to their first.
 *
 * bpf_d_path would do it for files, but not in these programs. The walk is bounded by WALK_MAX names and mount points; a
 * path with more of them, or longer than STRING_MAX, loses its beginning and marks the record as cut.
 * Where the path begins is kept in memory for the same reason as in store_string.h: each turn of the loop then looks the
 * same to the verifier, which joins its branches, and the loop costs it O(n) and not O(2^n) states.
 */
#ifndef SHIKRA_STORE_PATH_H
#define SHIKRA_STORE_PATH_H

#define WALK_MAX 32
#define CGROUP_WALK_MAX 12
#define CGROUP_PATH_MAX 1024

/* Puts "/name" before what is there. False when there is no room. */
__inline_always bool path__prepend(struct cpu *c, const void *name, u32 len)
{
	u64 at = *(volatile u64 *)&c->path_at - len - 1;
	if (at == 0 || at >= PATH_MAX)
		return false;
	u64 to = at & (PATH_MAX - 1);
	opaque(to);
	c->path[to] = '/';
	len &= NAME_MAX - 1;
	opaque(len);
	bpf_probe_read_kernel(c->path + to + 1, len & (NAME_MAX - 1), name);
	*(volatile u64 *)&c->path_at = at;
	return true;
}

__inline_always void path__begin(struct cpu *c)
{
	c->path[PATH_MAX] = 0;
	*(volatile u64 *)&c->path_at = PATH_MAX;
}

/*
 * A function of its own that takes numbers: the verifier looks at it once, not wherever it is called in each state it is called
 * in. Loops that follow what READ gives cost 6.18's verifier some six times what they cost others' otherwise. 32-bit Arm's
 * compiler has no calls between functions.
 */
#if defined(__TARGET_ARCH_arm)
#define VERIFIED_ONCE __inline_always
#else
#define VERIFIED_ONCE __attribute__((noinline))
#endif

/* Builds the path of the dentry at dentry under the vfsmount at vfsmount. 0 when it was cut. */
VERIFIED_ONCE int path__build(u64 dentry, u64 vfsmount)
{
	struct cpu *c = submit__cpu();
	if (!c)
		return 0;
	struct dentry *d = (void *)dentry;
	struct vfsmount *vm = (void *)vfsmount;
	struct mount *m = (void *)vm - bpf_core_field_offset(struct mount, mnt);
	struct dentry *root = READ(vm, mnt_root);
	path__begin(c);
	if (READ(d, d_parent) == d && d != root) { /* of no file system: a memfd */
		return path__prepend(c, READ(d, d_name.name), READ(d, d_name.len) & (NAME_MAX - 1));
	}
	for (int i = 0; i < WALK_MAX; i++) {
		d = forget(&c->forget[0], d);
		m = forget(&c->forget[1], m);
		root = forget(&c->forget[2], root);
		struct dentry *parent = READ(d, d_parent);
		if (d == root || d == parent) {
			struct mount *up = READ(m, mnt_parent);
			if (up == m)
				return 1;
			d = READ(m, mnt_mountpoint);
			m = up;
			root = READ(m, mnt.mnt_root);
			continue;
		}
		if (!path__prepend(c, READ(d, d_name.name), READ(d, d_name.len) & (NAME_MAX - 1)))
			return 0;
		d = parent;
	}
	return 0;
}

/* Stores the path that was built, and after it a NUL; "/" when it is empty. */
__inline_always void store__built_path(struct rec *r)
{
	struct cpu *c = r->cpu;
	u64 at = store__place(r), from = *(volatile u64 *)&c->path_at;
	if (from >= PATH_MAX) {
		from = PATH_MAX - 1;
		c->path[PATH_MAX - 1] = '/';
	}
	from &= PATH_MAX - 1;
	opaque(from);
	u64 n = PATH_MAX + 1 - from;
	opaque(n);
	if (n > STRING_MAX)
		n = STRING_MAX;
	bpf_probe_read_kernel(BODY(r, at), n, c->path + from);
	store__took(r, at, n);
}

__inline_always void store__dentry(struct rec *r, struct dentry *d, struct vfsmount *vm)
{
	if (!d) {
		store__missing(r);
		return;
	}
	if (!path__build((u64)forget(&r->cpu->forget[0], d), (u64)forget(&r->cpu->forget[1], vm)))
		store__mark_cut(r);
	store__built_path(r);
}

/* The path that a dentry has within its file system, wherever that is mounted. */
__inline_always void store__path_within(struct rec *r, struct dentry *d)
{
	struct cpu *c = r->cpu;
	bool whole = false;
	path__begin(c);
	for (int i = 0; i < WALK_MAX; i++) {
		d = forget(&c->forget[0], d);
		struct dentry *parent = READ(d, d_parent);
		if (d == parent) {
			whole = true;
			break;
		}
		if (!path__prepend(c, READ(d, d_name.name), READ(d, d_name.len) & (NAME_MAX - 1)))
			break;
		d = parent;
	}
	if (!whole)
		store__mark_cut(r);
	store__built_path(r);
}

/* The path of an open file. */
__inline_always void store__file_path(struct rec *r, struct file *f)
{
	store__dentry(r, f ? READ(f, f_path.dentry) : NULL, READ(f, f_path.mnt));
}

/* Builds the path of a cgroup: its last CGROUP_WALK_MAX names or CGROUP_PATH_MAX bytes. False when it was cut. */
__inline_always bool path__of_cgroup(struct cpu *c, struct cgroup *cg)
{
	struct kernfs_node *kn = READ(cg, kn);
	path__begin(c);
	for (int i = 0; i < CGROUP_WALK_MAX; i++) {
		struct kernfs_node *parent = NULL;
		kn = forget(&c->forget[0], kn);
		if (bpf_core_field_exists(kn->parent)) /* up to 6.14 */
			parent = READ(kn, parent);
		else
			bpf_probe_read_kernel(&parent, KERNEL_POINTER, &((struct kernfs_node___6_15 *)kn)->__parent);
		if (!parent)
			return true; /* the root has no name */
		s64 n = bpf_probe_read_kernel_str(c->name, NAME_MAX, READ(kn, name));
		if (n <= 1 || *(volatile u64 *)&c->path_at < PATH_MAX - CGROUP_PATH_MAX + NAME_MAX)
			return false;
		if (!path__prepend(c, c->name, (n - 1) & (NAME_MAX - 1)))
			return false;
		kn = parent;
	}
	return false;
}

/* Appends "NAME=PATH" and a NUL to the cgroups. The path of the one before is taken when the cgroup is the same. */
__inline_always void store__cgroup(struct rec *r, struct css_set *set, u32 id)
{
	struct cpu *c = r->cpu;
	struct cgroup_subsys_state *css = NULL;
	bpf_probe_read_kernel(&css, KERNEL_POINTER, (u8 *)&set->subsys[0] + KERNEL_POINTER * (u64)id);
	if (!css)
		return;
	struct cgroup *cg = READ(css, cgroup), *dfl = READ(set, dfl_cgrp);
	/*
	 * In the unified hierarchy a subsystem that isn't enabled all the way down has the css of an ancestor; the task is
	 * in dfl_cgrp all the same, and that is where a container shows.
	 */
	if (READ(cg, root) == READ(dfl, root))
		cg = dfl;

	u64 at = store__place(r);
	s64 n = bpf_probe_read_kernel_str(BODY(r, at), 16, READ(READ(css, ss), name));
	if (n <= 1)
		return;
	n &= 15;
	opaque(n);
	BODY(r, at)[n - 1] = '=';
	*(volatile u64 *)&c->at = at + n;

	cg = forget(&c->forget[1], cg);
	if ((u64)cg != *(volatile u64 *)&c->forget[2]) {
		*(volatile u64 *)&c->forget[2] = (u64)cg;
		if (!path__of_cgroup(c, cg))
			store__mark_cut(r);
	}
	u64 from = *(volatile u64 *)&c->path_at;
	if (from >= PATH_MAX) {
		from = PATH_MAX - 1;
		c->path[PATH_MAX - 1] = '/';
	}
	if (from < PATH_MAX - CGROUP_PATH_MAX)
		from = PATH_MAX - CGROUP_PATH_MAX;
	from &= PATH_MAX - 1;
	opaque(from);
	u64 len = PATH_MAX + 1 - from;
	opaque(len);
	if (len > CGROUP_PATH_MAX + 1)
		len = CGROUP_PATH_MAX + 1;
	at = store__place(r);
	bpf_probe_read_kernel(BODY(r, at), len, c->path + from);
	*(volatile u64 *)&c->at = at + len;
}

#define CGROUPS_KEPT_NS (1ULL << 30) /* a second: a cgroup of version 1 may be renamed */

/*
 * Puts what tells the cgroup of subsystem id of the css_set at set from any other that there ever was at place k of the key, and
 * returns bits that are set where that is another than before.
 */
__inline_always u64 cgroups__key(struct cpu *c, u64 set, u64 id, int k)
{
	/* READ takes fields of kernel types, as in read__file. */
	struct list_head *entry = (void *)(set + bpf_core_field_offset(struct css_set, subsys) + KERNEL_POINTER * id);
	u64 serial = READ((struct cgroup_subsys_state *)READ(entry, next), serial_nr), changed = serial ^ c->cgroups_of[k];
	c->cgroups_of[k] = serial;
	return changed;
}

#define CGROUP_ID(name) bpf_core_enum_value(enum cgroup_subsys_id, name##_cgrp_id)
#define CGROUP_EXISTS(name) bpf_core_enum_value_exists(enum cgroup_subsys_id, name##_cgrp_id)

/*
 * Whether the cgroups of the set are those that were stored last on this CPU: building them again is a good part of what a
 * new process costs. The answer comes by way of memory, as nothing that led to it is of interest to the verifier.
 */
__inline_always bool cgroups__same(struct rec *r, struct css_set *css_set)
{
	struct cpu *c = r->cpu;
	u64 set = (u64)forget(&c->forget[0], css_set), now = *(volatile u64 *)(r->p + RECORD_TS);
	u64 changed = READ((struct cgroup *)READ(css_set, dfl_cgrp), self.serial_nr) ^ c->cgroups_of[CGROUP_KEYS - 1];
	c->cgroups_of[CGROUP_KEYS - 1] ^= changed;
	if (CGROUP_EXISTS(cpuset))
		changed |= cgroups__key(c, set, CGROUP_ID(cpuset), 0);
	if (CGROUP_EXISTS(cpu))
		changed |= cgroups__key(c, set, CGROUP_ID(cpu), 1);
	if (CGROUP_EXISTS(cpuacct))
		changed |= cgroups__key(c, set, CGROUP_ID(cpuacct), 2);
	if (CGROUP_EXISTS(io))
		changed |= cgroups__key(c, set, CGROUP_ID(io), 3);
	if (CGROUP_EXISTS(memory))
		changed |= cgroups__key(c, set, CGROUP_ID(memory), 4);
	changed |= (now - c->cgroups_at) / CGROUPS_KEPT_NS;
	return !(u64)forget(&c->forget[2], changed);
}

/* Stores what was kept. */
__inline_always void cgroups__store(struct rec *r)
{
	u64 at = store__place(r), n = *(volatile u64 *)&r->cpu->cgroups_len;
	opaque(n);
	if (n > CGROUPS_MAX)
		n = CGROUPS_MAX;
	bpf_probe_read_kernel(BODY(r, at), n, r->cpu->cgroups);
	*(volatile u64 *)&r->cpu->at = at + n;
}

/* Keeps the n bytes at at of the body for the next task; nothing when they are too many, or something may be missing. */
__inline_always void cgroups__keep(struct rec *r, u64 at, u64 n)
{
	struct cpu *c = r->cpu;
	bool whole = n <= CGROUPS_MAX && !(*(volatile u16 *)(r->p + RECORD_ORIGIN) & ORIGIN_CUT);
	c->cgroups_at = *(volatile u64 *)(r->p + RECORD_TS);
	if (!whole)
		c->cgroups_of[CGROUP_KEYS - 1] = ~0ULL; /* no serial number */
	opaque(n);
	if (n > CGROUPS_MAX)
		n = CGROUPS_MAX;
	c->cgroups_len = n;
	/* 5.10's verifier forgets the bounds of what had to be put on the stack. */
	opaque(at);
	bpf_probe_read_kernel(c->cgroups, n, BODY(r, at & (BODY_MAX - 1)));
}

/* Stores the cgroups of the css_set at css_set, and keeps them, for an event of slot. A function of its own as path__build is. */
VERIFIED_ONCE int cgroups__build(u64 css_set, u32 slot)
{
	struct cpu *c = submit__cpu();
	if (!c)
		return 0;
	struct rec r = {.p = c->rec, .cpu = c, .slot = slot};
	struct css_set *set = (void *)css_set;
	u64 begin = store__place(&r);
	*(volatile u64 *)&c->forget[2] = 0;
	if (CGROUP_EXISTS(cpuset))
		store__cgroup(&r, set, CGROUP_ID(cpuset));
	if (CGROUP_EXISTS(cpu))
		store__cgroup(&r, set, CGROUP_ID(cpu));
	if (CGROUP_EXISTS(cpuacct))
		store__cgroup(&r, set, CGROUP_ID(cpuacct));
	if (CGROUP_EXISTS(io))
		store__cgroup(&r, set, CGROUP_ID(io));
	if (CGROUP_EXISTS(memory))
		store__cgroup(&r, set, CGROUP_ID(memory));
	cgroups__keep(&r, begin, *(volatile u64 *)&c->at - begin);
	return 0;
}

/* The cgroups of the task, each "NAME=PATH" and a NUL, in the order other sensors of this format give them. */
__inline_always void store__cgroups(struct rec *r, struct task_struct *t)
{
	u64 begin = store__place(r);
	struct css_set *set = READ(t, cgroups);
	if (cgroups__same(r, set))
		cgroups__store(r);
	else
		cgroups__build((u64)forget(&r->cpu->forget[0], set), r->slot);
	store__entry(r, begin, *(volatile u64 *)&r->cpu->at - begin);
}

#endif
