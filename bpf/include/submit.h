/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* submit.h: the last layer: where a record begins, and how it gets into the ring. */
#ifndef SHIKRA_SUBMIT_H
#define SHIKRA_SUBMIT_H

/* A record in the making. All members but p, cpu and slot are constants to the compiler. */
struct rec {
	u8 *p;           /* the record's first byte */
	struct cpu *cpu;
	u32 i;           /* the next parameter */
	u32 at;          /* where the next value of fixed size may begin, bytes from the body's start */
	u32 slot;        /* the system call, for the counters; 0 for none */
#ifdef URING
	u32 drop, may_drop; /* as in struct call */
#endif
};

__inline_always struct cpu *submit__cpu(void)
{
	u32 n = bpf_get_smp_processor_id();
	return bpf_map_lookup_elem(&cpus, &n);
}

/*
 * Adds n to a CPU's counter. A plain addition is enough where no other program of the CPU can come in between, and costs a
 * tenth of an atomic one; the verifier drops the branch that isn't taken.
 */
__inline_always void submit__add(u64 *counter, s64 n)
{
	if (realtime)
		__sync_fetch_and_add(counter, n);
	else
		*(volatile u64 *)counter += n;
}

__inline_always void submit__count_sent(struct rec *r)
{
	submit__add(&r->cpu->made[r->slot & (SLOTS - 1)].sent, 1);
}

__inline_always void submit__count_lost(struct cpu *c, u32 cause, u32 type, u32 slot)
{
	submit__add(&c->made[slot & (SLOTS - 1)].lost, 1);
	submit__add(&c->lost[cause][type & (TYPES - 1)], 1);
}

/* Counts a parameter that was left out because the program's memory couldn't be read there. */
__inline_always void submit__count_missing(struct rec *r)
{
	submit__add(&r->cpu->made[r->slot & (SLOTS - 1)].missing, 1);
}

__inline_always void submit__count_cut(struct rec *r)
{
	submit__add(&r->cpu->made[r->slot & (SLOTS - 1)].cut, 1);
}

/* Starts a record of type at p: everything in the header but its length. */
__inline_always void submit__write_header(struct rec *r, u32 type, u32 n, s64 tid, u32 nr, u32 compat)
{
	*(u64 *)(r->p + RECORD_TS) = bpf_ktime_get_boot_ns();
	*(u16 *)(r->p + RECORD_TYPE) = type;
	*(u16 *)(r->p + RECORD_NPARAMS) = n;
	*(s64 *)(r->p + RECORD_TID) = tid;
	*(u16 *)(r->p + RECORD_CPU) = bpf_get_smp_processor_id();
	*(u16 *)(r->p + RECORD_ORIGIN) = compat ? ORIGIN_COMPAT : 0;
	*(u32 *)(r->p + RECORD_NR) = nr;
	r->i = 0;
	r->at = 4 * n;
}

/* Reserves a record whose parameters all have a fixed size. False, and counted under slot, when the ring is full. */
__inline_always bool submit__reserve(struct rec *r, struct cpu *c, u32 type, u32 n, u32 end, s64 tid, u32 nr, u32 compat, u32 slot)
{
	r->cpu = c;
	r->slot = slot;
	r->p = bpf_ringbuf_reserve(&ring, RECORD_HEADER + end, 0);
	if (!r->p) {
		submit__count_lost(c, LOST_RING, type, slot);
		return false;
	}
	submit__write_header(r, type, n, tid, nr, compat);
	*(u32 *)(r->p + RECORD_LEN) = RECORD_HEADER + end;
	return true;
}

#ifdef URING
/* Marks a record that has begun as an operation's. */
__inline_always bool submit__mark(struct rec *r, const struct call *c)
{
	*(volatile u16 *)(r->p + RECORD_ORIGIN) |= ORIGIN_URING;
	r->drop = c->drop;
	r->may_drop = c->may_drop;
	return true;
}
#endif

/* Says of a record that has begun whether exec closes the fds that the call made. */
__inline_always void submit__mark_cloexec(struct rec *r, bool closes)
{
	if (closes)
		*(volatile u16 *)(r->p + RECORD_ORIGIN) |= ORIGIN_CLOEXEC;
}

/* Makes parameters missing that an operation doesn't have: fds of what has none, a result that isn't known. */
__inline_always void submit__drop(struct rec *r)
{
#ifdef URING
#pragma unroll
	for (int i = 0; i < 6; i++) {
		if (r->may_drop >> i & 1 && r->drop >> i & 1)
			*(volatile u32 *)(r->p + RECORD_HEADER + RECORD_PARAM * i) = 0;
	}
#endif
}

/* Hands a reserved record over. The reader polls, so that nobody is woken. */
__inline_always void submit__reserved(struct rec *r)
{
	submit__drop(r);
	submit__count_sent(r);
	bpf_ringbuf_submit(r->p, BPF_RB_NO_WAKEUP);
}

/*
 * Begins a record with strings in the CPU's scratch. False, and counted, when another program of this CPU has the scratch,
 * and when the ring is as good as full: asking first saves the reading, which a full ring would otherwise cost all the same.
 */
__inline_always bool submit__begin(struct rec *r, struct cpu *c, u32 type, u32 n, u32 end, s64 tid, u32 nr, u32 compat, u32 slot)
{
	/* Kernels before 5.12 have no exchange, but adding first and looking then lets in one at most. */
	submit__add(&c->busy, 1);
	bool busy = *(volatile u64 *)&c->busy != 1;
	if (busy || bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) + RECORD_HEADER + end + 64 > ring_bytes) {
		submit__add(&c->busy, -1);
		submit__count_lost(c, busy ? LOST_BUSY : LOST_RING, type, slot);
		return false;
	}
	c->at = end;
	r->cpu = c;
	r->slot = slot;
	r->p = c->rec;
	submit__write_header(r, type, n, tid, nr, compat);
	return true;
}

/* Copies the scratch's record into the ring, and keeps the scratch. */
__inline_always void submit__copy_scratch(struct rec *r)
{
	struct cpu *c = r->cpu;
	submit__drop(r);
	u64 len = c->at & (2 * BODY_MAX - 1);
	if (len > BODY_MAX + STRING_MAX)
		len = BODY_MAX + STRING_MAX;
	len += RECORD_HEADER;
	*(u32 *)(c->rec + RECORD_LEN) = len;
	if (bpf_ringbuf_output(&ring, c->rec, len, BPF_RB_NO_WAKEUP))
		submit__count_lost(c, LOST_RING, *(volatile u16 *)(c->rec + RECORD_TYPE), r->slot);
	else
		submit__count_sent(r);
}

/* Copies the scratch's record into the ring. */
__inline_always void submit__scratch(struct rec *r)
{
	submit__copy_scratch(r);
	submit__add(&r->cpu->busy, -1);
}

/* The same for a system call that ends, by the name of its event type. */
#ifdef URING
#define MARK(r, c) &&submit__mark(r, c)
#else
#define MARK(r, c)
#endif
#define RESERVE(r, c, TYPE)                                                                                            \
	(submit__reserve(r, (c)->cpu, TYPE, TYPE##_N, TYPE##_END, (c)->tid, (c)->nr, (c)->compat, (c)->slot) MARK(r, c))
#define BEGIN(r, c, TYPE)                                                                                              \
	(submit__begin(r, (c)->cpu, TYPE, TYPE##_N, TYPE##_END, (c)->tid, (c)->nr, (c)->compat, (c)->slot) MARK(r, c))

#ifdef URING
/* What the operation of an io_uring does that stands for the call: programs/uring.bpf.c calls it. */
#define CALL(name) __inline_always int call_##name(struct call c, s64 ret)
#define CALL_IN_TURNS(name) CALL(name)
#else
/*
 * A program for one system call: CALL(name) { ... c.regs, ret ... }
 * The dispatcher calls it. Where there is none, it is loaded for fexit of the kernel's function of the call instead: that
 * has the registers as its only argument, so that context is the same.
 */
#define CALL(name) CALL_IF(name, dispatch__mine, names__end)
#define CALL_IF(name, mine, end)                                                                                       \
	__inline_always int call_##name(struct call c, s64 ret);                                                       \
	SEC("tp_btf/sys_exit")                                                                                         \
	int BPF_PROG(x_##name, struct pt_regs *regs, long ret)                                                         \
	{                                                                                                              \
		if (fexit && !mine(regs, ret))                                                                         \
			return 0;                                                                                      \
		struct call c = {.ctx = ctx, .regs = regs, .cpu = submit__cpu(), .task = read__task()};                \
		if (!c.cpu)                                                                                            \
			return 0;                                                                                      \
		c.nr = read__nr(regs);                                                                                 \
		c.compat = read__compat(c.task);                                                                       \
		c.slot = read__slot(&c);                                                                               \
		c.tid = read__tid(c.task);                                                                             \
		call_##name(c, read__ret(c.compat, ret));                                                              \
		if (exact || exact_files)                                                                                             \
			end(c.slot);                                                                                   \
		return 0;                                                                                              \
	}                                                                                                              \
	__inline_always int call_##name(struct call c, s64 ret)

/*
 * Turns: a call that becomes several events makes one in each run of its program, which then calls itself. The kernel lets
 * it do so some 32 times; what remains is counted as lost. Between two turns the scratch stays taken, so that what the CPU's
 * memory says of the turn is still true in the next. CALL_IN_TURNS(name) makes such a program, one without functions of its
 * own, beside which arm64's 5.10 has no tail calls.
 */

#define CALL_IN_TURNS(name) CALL_IF(name, dispatch__mine_inline, (void))
#endif /* URING */

/* The number of this turn, from 0. */
__inline_always u32 submit__turn(const struct call *c)
{
	if (c->cpu->turn_tid != c->tid)
		return 0;
	u32 turn = c->cpu->turn;
	c->cpu->turn_tid = 0;
	submit__add(&c->cpu->busy, -1);
	return turn;
}

/* Counts what would come after turn i of n. */
__inline_always void submit__lose_turns(const struct call *c, u32 type, u32 i, s64 n)
{
	if (n <= i + 1)
		return;
	submit__add(&c->cpu->made[c->slot & (SLOTS - 1)].lost, n - i - 1);
	submit__add(&c->cpu->lost[LOST_TURN][type & (TYPES - 1)], n - i - 1);
}

/* Ends turn i of n by handing the record over. Does not come back when there is a next one. */
__inline_always void submit__take_turn(struct rec *r, const struct call *c, u32 type, u32 i, s64 n)
{
	struct cpu *cpu = c->cpu;
	submit__copy_scratch(r);
	if (n > i + 1) {
		cpu->turn = i + 1;
		cpu->turn_tid = c->tid;
		bpf_tail_call(c->ctx, &calls, c->slot);
		cpu->turn_tid = 0;
		submit__lose_turns(c, type, i, n);
	}
	submit__add(&cpu->busy, -1);
}

#endif
