/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* dispatch.h: whether an event is made of a system call that ends. */
#ifndef SHIKRA_DISPATCH_H
#define SHIKRA_DISPATCH_H

/* Whether the call c->regs, that ends with ret, is one of those wanted. Fills in nr and, of one that is, task, compat and slot. */
__inline_always bool dispatch__wants(struct call *c, s64 ret)
{
	c->nr = read__nr(c->regs);
	if (c->nr < NATIVE) {
		/* Which ABI the number follows is known only from the task, so that is asked last. */
		u32 word = c->nr / 64;
		u64 bit = 1ULL << (c->nr % 64);
		if (!((wanted[0][word] | wanted[1][word]) & bit))
			return false;
		c->task = read__task();
		c->compat = read__compat(c->task);
		if (!(wanted[c->compat][word] & bit))
			return false;
		if (read__is_exec_end(c))
			return false;
		if (read__is_multiplexer(c) && !(wanted_sub[read__multiplexer(c)] >> read__sub(c) & 1))
			return false;
	} else {
		u32 want = wanted_beyond;
		if (!want || !(want & (read__is_sigreturn(c->nr, ret) ? WANTED_SIGRETURN : WANTED_UNKNOWN)))
			return false;
		c->task = read__task();
	}
	c->slot = read__slot(c);
	return true;
}

/* Whether a wanted call is the sensor's own, or nobody can use its event. */
__inline_always bool dispatch__drops(const struct call *c, s64 ret)
{
	u32 tgid = read__tgid(c->task);
	if (tgid == self_tgid) {
		__sync_fetch_and_add(&self_calls, 1);
		return true;
	}
	if (!filter_on || !filter__drops(c, read__ret(c->compat, ret), tgid))
		return false;
	if (exact || exact_files)
		names__forget(read__tid(c->task), 31);
	return true;
}

/*
 * Whether a program that is attached to the kernel's function of a system call is to make an event of this call. What the
 * dispatcher decides is decided here then, and the function may serve calls that are another program's.
 */
__inline_always bool dispatch__mine_inline(struct pt_regs *regs, s64 ret)
{
	struct call c = {.regs = regs};
	return dispatch__wants(&c, ret) && (!only_slot || c.slot == only_slot) && !dispatch__drops(&c, ret);
}

/* The same as a function, as each program has it; where the dispatcher runs, the verifier drops the call. */
static __attribute__((noinline)) bool dispatch__mine(struct pt_regs *regs, s64 ret)
{
	return dispatch__mine_inline(regs, ret);
}

#endif
