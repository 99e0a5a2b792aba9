/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * execve, execveat: a successful one is sched_process_exec's event, as the call doesn't return to the program that made
 * it; a failed one is that of the call's end.
 */

/*
 * Begins the event of either call. One form serves both: execveat's parameters are the first of execve's, so that the
 * directory just has an entry more than the record says.
 */
__inline_always bool exec__begin(struct rec *r, struct cpu *cpu, bool at, s64 tid, u32 nr, u32 compat)
{
	if (!submit__begin(r, cpu, at ? SYSCALL_EXECVEAT_X : SYSCALL_EXECVE_19_X, SYSCALL_EXECVE_19_X_N, SYSCALL_EXECVE_19_X_END, tid, nr, compat, exec_slot[at & 1]))
		return false;
	if (at)
		*(volatile u16 *)(r->p + RECORD_NPARAMS) = SYSCALL_EXECVEAT_X_N;
	return true;
}

_Static_assert(SYSCALL_EXECVEAT_X_N == SYSCALL_EXECVE_19_X_N - 1, "execve has one parameter more");

/* sched_process_exec: the new program is in place, its arguments lie on its stack. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(sched_exec, struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
{
	struct rec r;
	struct task_struct *t = read__task();
	u64 id = bpf_get_current_pid_tgid();
	if (id >> 32 == self_tgid || READ(t, flags) & PF_KTHREAD)
		return 0;
	/*
	 * The kernel makes the caller's registers look as if execve had been called (set_personality_64bit,
	 * arch/x86/kernel/process_64.c), but only execveat with a directory fd has an fdpath (since 5.8).
	 */
	bool at = false;
	if (bpf_core_field_exists(bprm->fdpath))
		at = READ(bprm, fdpath) != NULL;
	struct cpu *cpu = submit__cpu();
	if (!cpu || !exec__begin(&r, cpu, at, (u32)id, NO_NR, read__compat(t)))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, 0);
	store__exe_args(&r, t);
	store__process(&r, t, true);
	/* env: ParamBytebuf */
	struct mm_struct *mm = READ(t, mm);
	store__user_strings(&r, READ(mm, env_start), READ(mm, env_end));
	store__exec(&r, t);
	/* filename: ParamFspath, execve's only */
	store__kernel_string(&r, READ(bprm, filename), STRING_MAX);
	submit__scratch(&r);
	return 0;
}

#define EXEC_POINTERS_MAX 48

/*
 * Stores the strings that an array of user-space pointers names, from index first on. At most EXEC_POINTERS_MAX strings
 * and STRING_MAX bytes are read; more marks the record as cut.
 */
__inline_always void exec__store_array(struct rec *r, u64 array, u32 first, u64 size)
{
	struct cpu *c = r->cpu;
	u64 begin = store__place(r);
	for (u32 i = first; array && i < EXEC_POINTERS_MAX; i++) {
		u64 ptr = read__user_pointer(array, i, size), at = store__place(r);
		if (!ptr)
			break;
		s64 n = store__string_size(BODY(r, at), bpf_probe_read_user_str(BODY(r, at), STRING_MAX, (void *)ptr));
		if (n < 0)
			break;
		if (at + n - begin > STRING_MAX || i == EXEC_POINTERS_MAX - 1) {
			store__mark_cut(r);
			*(volatile u64 *)&c->at = begin + STRING_MAX;
			u64 last = (begin + STRING_MAX - 1) & (2 * BODY_MAX - 1);
			if (last < BODY_MAX + STRING_MAX)
				BODY(r, last)[0] = 0;
			break;
		}
		*(volatile u64 *)&c->at = at + n;
	}
	store__entry(r, begin, *(volatile u64 *)&c->at - begin);
}

/* What failed: the parameters are those of the program that called. */
__inline_always void exec__store_failed(struct rec *r, s64 ret, u64 argv, u64 envp, u64 size)
{
	struct task_struct *t = read__task();
	/* res: ParamErrno */
	store__s64(r, ret);
	/* exe: ParamCharbuf */
	store__user_string(r, argv ? read__user_pointer(argv, 0, size) : 0);
	/* args: ParamBytebuf */
	exec__store_array(r, argv, 1, size);
	store__process(r, t, false);
	/* env: ParamBytebuf */
	exec__store_array(r, envp, 0, size);
	store__exec(r, t);
}

/* Serves execveat too. */
CALL(execve)
{
	struct rec r;
	bool at = c.nr == execveat_nr[c.compat & 1];
	if (ret >= 0 || !exec__begin(&r, c.cpu, at, c.tid, c.nr, c.compat))
		return 0;
	u64 name = at ? read__arg(&c, 1) : read__arg(&c, 0);
	u64 argv = at ? read__arg(&c, 2) : read__arg(&c, 1), envp = at ? read__arg(&c, 3) : read__arg(&c, 2);
	exec__store_failed(&r, ret, argv, envp, (u64)forget(&r.cpu->forget[0], read__pointer_size(c.compat)));
	/* filename: ParamFspath, execve's only */
	store__user_string(&r, name);
	submit__scratch(&r);
	return 0;
}
