/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * store_string.h: parameters of any length, into the scratch.
 *
 * Where the next one goes is kept in the scratch's memory, not in a register: to the verifier each string then begins at
 * the same unknown place, so that what came before it, found or missing, is one state and not two. Masked, that place is at
 * most BODY_MAX - 1, and the scratch has room for STRING_MAX after it.
 */
#ifndef SHIKRA_STORE_STRING_H
#define SHIKRA_STORE_STRING_H

/* Where the next string goes, from the body's start. */
__inline_always u64 store__place(struct rec *r)
{
	u64 at = *(volatile u64 *)&r->cpu->at & (BODY_MAX - 1);
	opaque(at);
	return at;
}

#define BODY(r, at) ((r)->cpu->rec + RECORD_HEADER + (at))

/* Ends a parameter of n bytes at at. */
__inline_always void store__took(struct rec *r, u64 at, u64 n)
{
	*(volatile u64 *)&r->cpu->at = at + n;
	store__entry(r, at, n);
}

__inline_always void store__mark_cut(struct rec *r)
{
	*(volatile u16 *)(r->p + RECORD_ORIGIN) |= ORIGIN_CUT;
	submit__count_cut(r);
}

/* Leaves out a parameter that couldn't be read at ptr, and counts it: but not a null pointer, which says that there is none. */
__inline_always void store__unreadable(struct rec *r, u64 ptr)
{
	if (ptr)
		submit__count_missing(r);
	store__missing(r);
}

/*
 * What a helper that reads a string says it wrote, the NUL included; negative for nothing. Of an empty string the one for
 * user space says 0 on older kernels (strncpy_from_user_nofault, mm/maccess.c@v5.10).
 */
__inline_always s64 store__string_size(u8 *p, s64 n)
{
	if (n == 0) {
		*p = 0;
		return 1;
	}
	return n;
}

/* A string of the program's. One that can't be read is missing; one of STRING_MAX or more bytes is cut. */
__inline_always void store__user_string(struct rec *r, u64 ptr)
{
	u64 at = store__place(r);
	s64 n = store__string_size(BODY(r, at), bpf_probe_read_user_str(BODY(r, at), STRING_MAX, (void *)ptr));
	if (n < 0) {
		store__unreadable(r, ptr);
		return;
	}
	if (n == STRING_MAX) {
		u8 last = 0;
		bpf_probe_read_user(&last, 1, (void *)(ptr + STRING_MAX - 1));
		if (last)
			store__mark_cut(r);
	}
	store__took(r, at, n);
}

#define COMPARED 32 /* words of 8 bytes that are compared without asking whether there are so many */

/*
 * Puts the kernel's copy of argument i, which the program has at ptr, where the next string goes, and says in the CPU's memory
 * how long it is (forget[1], 0 for none) and which marks the record gets (forget[2]). A function of its own, as each program has
 * it; where nothing is kept, the verifier drops the call. It answers in memory and has few ways out, each of
 * which the verifier follows to the end of the program. So it compares pieces of one size, without asking where the string ends:
 * the first and the last of it, which is all of a path of up to 512 bytes.
 */
static __attribute__((noinline)) int store__kept(struct cpu *c, u32 nr, u32 i, u64 ptr)
{
	u32 zero = 0;
	struct kept_name *none = bpf_map_lookup_elem(&no_name, &zero);
	const struct kept_name *kept = names__find((u32)bpf_get_current_pid_tgid(), nr, i, ptr);
	*(volatile u64 *)&c->forget[1] = 0;
	if (!kept || !none)
		return 0;
	u64 len = *(volatile u32 *)&kept->len, at = *(volatile u64 *)&c->at & (BODY_MAX - 1);
	opaque(len);
	opaque(at);
	if (len > STRING_MAX)
		len = STRING_MAX;
	bpf_probe_read_kernel(c->rec + RECORD_HEADER + at, len, kept->s);
	*(volatile u64 *)&c->forget[1] = len;
	*(volatile u64 *)&c->forget[2] = ORIGIN_EXACT;
	/* Memory that can't be read tells nothing. */
	if (bpf_probe_read_user(c->path, len, (void *)ptr))
		return 0;
	/* What lies behind the end is zero in what was kept. */
	bpf_probe_read_kernel(c->path + len, 8 * COMPARED, none->s);
	u64 last = len > 8 * COMPARED ? len - 8 * COMPARED : 0, d = 0;
	opaque(last);
	last &= STRING_MAX - 1;
	if (last > STRING_MAX - 8 * COMPARED)
		last = STRING_MAX - 8 * COMPARED;
	const u64 *now = (const u64 *)c->path, *then = (const u64 *)kept->s;
	const u64 *now_last = (const u64 *)(c->path + last), *then_last = (const u64 *)(kept->s + last);
#pragma clang loop unroll(disable)
	for (u32 j = 0; j < COMPARED; j++)
		d |= (now[j] ^ then[j]) | (now_last[j] ^ then_last[j]);
	*(volatile u64 *)&c->forget[0] = d;
	if (*(volatile u64 *)&c->forget[0])
		*(volatile u64 *)&c->forget[2] = ORIGIN_EXACT | ORIGIN_CHANGED;
	return 0;
}

#ifdef URING
/*
 * The same, of an operation: the kernel's copy was kept when it was submitted. Where that has been forgotten for want of room the path
 * is missing, which is counted: what the program's memory holds by now isn't what the kernel took. False when there was no copy.
 */
__inline_always bool store__kept_path(struct rec *r, const struct call *c, int i)
{
	u64 key = uring__path_key(c->req, i);
	if (!(c->op->flags & URING_PATHS))
		return false;
	const struct uring_path *kept = bpf_map_lookup_elem(&uring_paths, &key);
	if (!kept) {
		submit__count_missing(r);
		store__missing(r);
		return true;
	}
	u64 at = store__place(r), len = *(volatile u32 *)&kept->len;
	opaque(len);
	if (len > STRING_MAX)
		len = STRING_MAX;
	bpf_probe_read_kernel(BODY(r, at), len, kept->s);
	store__took(r, at, len);
	*(volatile u16 *)(r->p + RECORD_ORIGIN) |= ORIGIN_EXACT;
	return true;
}
#endif

/* The path that argument i, a constant, of the call names: the kernel's own copy where it was kept, else as store__user_string. */
__inline_always void store__path_arg(struct rec *r, const struct call *c, int i)
{
	u64 ptr = read__arg(c, i);
#ifdef URING
	if (store__kept_path(r, c, i))
		return;
#endif
	if (exact) {
		store__kept(r->cpu, c->nr, i, ptr);
		u64 len = *(volatile u64 *)&r->cpu->forget[1];
		if (len) {
			store__took(r, store__place(r), len);
			*(volatile u16 *)(r->p + RECORD_ORIGIN) |= *(volatile u64 *)&r->cpu->forget[2];
			return;
		}
	}
	store__user_string(r, ptr);
}

/* The string that argument i, a constant, of the call points to, which is no path of which a copy is kept but by operations. */
__inline_always void store__string_arg(struct rec *r, const struct call *c, int i)
{
#ifdef URING
	if (store__kept_path(r, c, i))
		return;
#endif
	store__user_string(r, read__arg(c, i));
}

/* A string of the kernel's, of less than max bytes, max a constant of at most STRING_MAX. */
__inline_always void store__kernel_string(struct rec *r, const void *ptr, u32 max)
{
	u64 at = store__place(r);
	s64 n = bpf_probe_read_kernel_str(BODY(r, at), max, ptr);
	if (n <= 0)
		store__missing(r);
	else
		store__took(r, at, n);
}

/* Up to max bytes of the program's, max at most STRING_MAX; what doesn't fit is cut. */
__inline_always void store__user_bytes(struct rec *r, u64 ptr, u64 len, u64 max)
{
	u64 at = store__place(r), n = len;
	if (n > max) {
		store__mark_cut(r);
		n = max;
	}
	opaque(n);
	if (n > STRING_MAX)
		n = STRING_MAX;
	if (bpf_probe_read_user(BODY(r, at), n, (void *)ptr))
		store__unreadable(r, ptr);
	else
		store__took(r, at, n);
}

/* A parameter of more than one type, a number: the index of its type, then the low size bytes of v. */
__inline_always void store__dyn(struct rec *r, u8 idx, u64 v, u64 size)
{
	u64 at = store__place(r);
	u8 *p = BODY(r, at);
	p[0] = idx;
	__builtin_memcpy(p + 1, &v, sizeof(v));
	store__took(r, at, 1 + size);
}

/* The same, a string of the program's: of one that can't be read there is the index alone. */
__inline_always void store__dyn_string(struct rec *r, u8 idx, u64 ptr)
{
	u64 at = store__place(r);
	BODY(r, at)[0] = idx;
	s64 n = store__string_size(BODY(r, at) + 1, bpf_probe_read_user_str(BODY(r, at) + 1, STRING_MAX - 1, (void *)ptr));
	if (n < 0) {
		n = 0;
		if (ptr)
			submit__count_missing(r);
	}
	if (n == STRING_MAX - 1)
		store__mark_cut(r);
	store__took(r, at, 1 + n);
}

/* The strings, each ended by NUL, that lie from ptr up to end: arguments and environment of a process. */
__inline_always void store__user_strings(struct rec *r, u64 ptr, u64 end)
{
	u64 at = store__place(r), n = end > ptr ? end - ptr : 0;
	bool cut = n > STRING_MAX;
	opaque(n);
	if (n > STRING_MAX)
		n = STRING_MAX;
	if (bpf_probe_read_user(BODY(r, at), n, (void *)ptr)) {
		store__unreadable(r, ptr);
		return;
	}
	if (cut) {
		store__mark_cut(r);
		BODY(r, at)[STRING_MAX - 1] = 0;
	}
	store__took(r, at, n);
}

#endif
