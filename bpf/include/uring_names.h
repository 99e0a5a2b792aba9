/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * uring_names.h: which request a completion is of that names none, by the program's own number for it.
 */
#ifndef SHIKRA_URING_NAMES_H
#define SHIKRA_URING_NAMES_H

/* Makes a request known by its number. */
__inline_always void uring__name(u64 ring, u64 data, u64 value, bool multishot)
{
	struct uring_name name = {ring, data, 0};
	u64 one = 1;
#pragma unroll
	for (u32 i = 0; i < URING_SAME; i++) {
		name.i = i;
		if ((i >= URING_SHOTS) == multishot && !bpf_map_update_elem(&uring_by_name, &name, &value, BPF_NOEXIST))
			return;
	}
	name.i = URING_SAME + multishot;
	if (bpf_map_update_elem(&uring_by_name, &name, &one, BPF_NOEXIST)) {
		u64 *more = bpf_map_lookup_elem(&uring_by_name, &name);
		if (more)
			__sync_fetch_and_add(more, 1);
	}
}

/* Of those that are only counted one has ended. */
__inline_always void uring__one_less(struct uring_name *name)
{
	u64 *more = bpf_map_lookup_elem(&uring_by_name, name);
	if (more && *more <= 1)
		bpf_map_delete_elem(&uring_by_name, name);
	else if (more)
		__sync_fetch_and_add(more, -1);
}

__inline_always void uring__unname(u64 ring, u64 data, u64 req, bool multishot)
{
	struct uring_name name = {ring, data, 0};
#pragma unroll
	for (u32 i = 0; i < URING_SAME; i++) {
		name.i = i;
		u64 *v = (i >= URING_SHOTS) == multishot ? bpf_map_lookup_elem(&uring_by_name, &name) : NULL;
		if (v && (*v & ~7ULL) == req) {
			bpf_map_delete_elem(&uring_by_name, &name);
			return;
		}
	}
	name.i = URING_SAME + multishot;
	uring__one_less(&name);
}

/* What stands where the request's result will, result and flags; 0 on kernels before 5.19, which keep it elsewhere. */
__inline_always u64 uring__result(u64 req)
{
	struct io_kiocb *r = (void *)req;
	if (!bpf_core_field_exists(r->cqe))
		return 0;
	return (u32)READ(r, cqe.res) | (u64)READ(r, cqe.flags) << 32;
}

__inline_always void uring__count_lost(u32 slot, u32 type)
{
	struct cpu *cpu = submit__cpu();
	if (cpu)
		submit__count_lost(cpu, LOST_REQUEST, type, slot);
}

/* By which number the program knows the request. */
__inline_always u64 uring__data(struct io_kiocb *r, u64 data)
{
	if (bpf_core_field_exists(r->cqe))
		return READ(r, cqe.user_data);
	if (bpf_core_field_exists(((struct io_kiocb___5_15 *)r)->user_data))
		bpf_probe_read_kernel(&data, sizeof(u64), &((struct io_kiocb___5_15 *)r)->user_data);
	return data;
}

/*
 * The request is another operation's now. What is still known of it has ended without a word: that is so of a silent one and of
 * what stood behind it, and lost of others.
 */
__inline_always void uring__reused(u64 req)
{
	struct uring_op *old = bpf_map_lookup_elem(&uring_ops, &req);
	if (!old)
		return;
	uring__unname(old->ring, old->data, req, old->flags & URING_MULTISHOT);
	if (old->flags & URING_PATHS)
		uring__forget_paths(req);
	if (!(old->flags & (URING_SILENT | URING_LINKED | URING_TOLD)))
		uring__count_lost(old->slot, old->type);
}

/* Counts what is complete as lost, by the request that it may be of. */
__inline_always void uring__lose(u64 req)
{
	struct uring_op *o = bpf_map_lookup_elem(&uring_ops, &req);
	if (o)
		uring__count_lost(o->slot, o->type);
	else
		uring__count_lost(0, GENERIC_X);
}

/*
 * Which request of number data is complete, where nothing but the number tells: up to 5.18. When it can't be told it is 0, and what
 * is lost is counted: of several with the same number any may be the one, and then any of what is left.
 */
__inline_always u64 uring__by_number(u64 ring, u64 data, u32 cflags)
{
	if (cflags & CQE_MORE) /* a poll, which goes on */
		return 0;
	struct uring_name name = {ring, data, URING_SAME};
	u64 *counted = bpf_map_lookup_elem(&uring_by_name, &name), more = 0, value = 0;
	u32 n = 0, at = 0;
	if (counted)
		more = *(volatile u64 *)counted;
#pragma unroll
	for (u32 i = 0; i < URING_SHOTS; i++) {
		name.i = i;
		u64 *v = bpf_map_lookup_elem(&uring_by_name, &name);
		if (!v)
			continue;
		n++;
		if (n == 1) {
			value = *(volatile u64 *)v;
			at = i;
		} else {
			*v |= URING_DOUBTED;
		}
	}
	if (!value) { /* older than the probe, forgotten, or one of many */
		uring__count_lost(0, GENERIC_X);
		name.i = URING_SAME;
		uring__one_less(&name);
		return 0;
	}
	u64 req = value & ~7ULL;
	name.i = at;
	bpf_map_delete_elem(&uring_by_name, &name);
	if (value & URING_UNWANTED)
		return 0;
	if (n == 1 && !more && !(value & URING_DOUBTED))
		return req;
	uring__lose(req);
	bpf_map_delete_elem(&uring_ops, &req);
	return 0;
}

/* Which multishot of number data tells of one time more. None may: nobody wants it. Several can't be told apart, which is counted. */
__inline_always u64 uring__by_shot(u64 ring, u64 data)
{
	struct uring_name name = {ring, data, 0};
	u64 req = 0;
	u32 n = 0;
#pragma unroll
	for (u32 i = URING_SHOTS; i < URING_SAME; i++) {
		name.i = i;
		u64 *v = bpf_map_lookup_elem(&uring_by_name, &name);
		if (!v)
			continue;
		n++;
		req = *v & ~7ULL;
	}
	name.i = URING_SAME + 1;
	bool more = n && bpf_map_lookup_elem(&uring_by_name, &name);
	if (n <= 1 && !more)
		return req;
	uring__lose(req);
	return 0;
}

/*
 * Which request of number data has that result, when there was no room to tell it: the request itself has it too by then. One that
 * had it before may not be the one: its event is made once, and what else it might be of is counted as lost.
 */
__inline_always u64 uring__by_result(u64 ring, u64 data, u64 result)
{
	struct uring_name name = {ring, data, 0};
	u64 more = 0, sure = 0, maybe = 0, told = 0;
#pragma unroll
	for (u32 i = 0; i < URING_SAME + 2; i++) {
		name.i = i;
		u64 *v = bpf_map_lookup_elem(&uring_by_name, &name);
		if (!v)
			continue;
		if (i >= URING_SAME) {
			more += *v;
			continue;
		}
		u64 req = *v & ~7ULL;
		struct uring_op *o = bpf_map_lookup_elem(&uring_ops, &req);
		if (!o) { /* forgotten for want of room */
			told = req;
			continue;
		}
		if (uring__result(req) != result || (o->flags & URING_SILENT && (s32)result >= 0))
			continue;
		if (o->before != result)
			sure = req;
		else if (o->flags & URING_TOLD)
			told = req;
		else
			maybe = req;
	}
	if (sure)
		return sure;
	if (maybe) {
		struct uring_op *o = bpf_map_lookup_elem(&uring_ops, &maybe);
		if (o)
			o->flags |= URING_TOLD;
		return maybe;
	}
	if (told || more)
		uring__lose(told);
	return 0;
}

#endif
