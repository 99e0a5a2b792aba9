/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sched_switch: a CPU goes from one thread, whose event it is, to the next. Loaded only when somebody asks for the event. */

/* From 5.18 on there is a fourth argument, the state of prev. */
SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct rec r;
	u32 tgid = READ(prev, tgid);
	if (tgid && tgid == self_tgid) /* 0 is a CPU without work, and no self */
		return 0;
	struct cpu *cpu = submit__cpu();
	if (!cpu || !submit__reserve(&r, cpu, SCHEDSWITCH_6_E, SCHEDSWITCH_6_E_N, SCHEDSWITCH_6_E_END, READ(prev, pid), NO_NR, 0, 0))
		return 0;
	/* next: ParamPid */
	store__s64(&r, READ(next, pid));
	/* pgft_maj: ParamUint64, of prev; so is the rest */
	store__u64(&r, READ(prev, maj_flt));
	/* pgft_min: ParamUint64 */
	store__u64(&r, READ(prev, min_flt));
	store__memory(&r, READ(prev, mm));
	submit__reserved(&r);
	return 0;
}
