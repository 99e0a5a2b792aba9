/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ptrace */

/* The indexes of the types that addr and data may have. */
enum { PTRACE_IDX_UINT64, PTRACE_IDX_SIGTYPE };

/* Requests, by the event format's numbers. */
enum {
	F_PTRACE_PEEKTEXT = 2,
	F_PTRACE_PEEKUSR = 4,
	F_PTRACE_CONT = 8,
	F_PTRACE_SINGLESTEP = 10,
	F_PTRACE_DETACH = 12,
	F_PTRACE_SYSCALL = 13,
};

/* A value of one of two types. */
__inline_always void ptrace__store(struct rec *r, u8 idx, u64 v)
{
	store__dyn(r, idx, v, idx == PTRACE_IDX_SIGTYPE ? 1 : 8);
}

CALL(ptrace)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_PTRACE_X))
		return 0;
	u16 request = flags__ptrace(read__arg(&c, 0));
	u64 data = read__arg(&c, 3);
	u8 idx = PTRACE_IDX_UINT64;
	if (ret < 0) {
		data = 0;
	} else if (request >= F_PTRACE_PEEKTEXT && request <= F_PTRACE_PEEKUSR) {
		data = read__user_pointer(data, 0, read__pointer_size(c.compat)); /* where the kernel put the word */
	} else if (request == F_PTRACE_CONT || request == F_PTRACE_SINGLESTEP || request == F_PTRACE_DETACH || request == F_PTRACE_SYSCALL) {
		idx = PTRACE_IDX_SIGTYPE;
	}
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* addr: ParamDyn */
	ptrace__store(&r, PTRACE_IDX_UINT64, ret < 0 ? 0 : read__arg(&c, 2));
	/* data: ParamDyn */
	ptrace__store(&r, idx, data);
	/* request: ParamEnumflags16 */
	store__u16(&r, request);
	/* pid: ParamPid */
	store__s64(&r, read__int(&c, 1));
	submit__scratch(&r);
	return 0;
}
