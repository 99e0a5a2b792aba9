/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * names.h: the kernel's own copies of the paths that a system call was given.
 *
 * A path read from the program's memory when the call ends may not be the one that the kernel took when it began. Where the
 * function that copies paths can be attached to (programs/getname.bpf.c), its copy is kept until the call ends, and the event
 * has that. Where exact isn't set, the verifier drops all of this.
 */
#ifndef SHIKRA_NAMES_H
#define SHIKRA_NAMES_H

#define NAMES 256 /* calls with a path that may be under way at a time */
#define NAME_ARGS 5

struct kept_name {
	u64 ptr; /* where the program had it */
	u32 nr;
	u32 len; /* bytes, with the NUL */
	u8 s[STRING_MAX];
};

/* By thread and index of the argument: see names__key. The loader makes room for NAMES. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct kept_name);
} names SEC(".maps");

/* What an entry begins as. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct kept_name);
} no_name SEC(".maps");

const volatile u32 exact;           /* not 0: names are kept */
const volatile u8 name_args[SLOTS]; /* which arguments of a slot's call are paths, a bit each */

/* Paths that weren't kept, as names was full. */
volatile u64 names_full;

__inline_always u64 names__key(u32 tid, u32 i)
{
	return (u64)tid << 8 | i;
}

/* The copy of argument i of the call, which the program had at ptr; NULL for none. */
__inline_always struct kept_name *names__find(u32 tid, u32 nr, u32 i, u64 ptr)
{
	u64 key = names__key(tid, i);
	struct kept_name *n = bpf_map_lookup_elem(&names, &key);
	return n && n->ptr == ptr && n->nr == nr ? n : NULL;
}

/* Forgets the paths of a thread's arguments that mask, a constant, has, and what it opened. */
__inline_always void names__forget(u32 tid, u32 mask)
{
	if (exact_files)
		opens__forget(tid);
#pragma unroll
	for (int i = 0; i < NAME_ARGS; i++) {
		u64 key = names__key(tid, i);
		if (mask >> i & 1)
			bpf_map_delete_elem(&names, &key);
	}
}

/*
 * Forgets what was kept for the call of a slot, which ends in the thread that runs. A function, as store__kept is. The arguments
 * are asked for one by one, so that the verifier doesn't follow each combination.
 */
static __attribute__((noinline)) int names__end(u32 slot)
{
	u32 tid = bpf_get_current_pid_tgid();
	if (exact_files && opens_of[slot & (SLOTS - 1)])
		opens__forget(tid);
#pragma unroll
	for (int i = 0; i < NAME_ARGS; i++) {
		u64 key = names__key(tid, i);
		if (name_args[slot & (SLOTS - 1)] >> i & 1)
			bpf_map_delete_elem(&names, &key);
	}
	return 0;
}

#endif
