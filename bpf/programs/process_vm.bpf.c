/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* process_vm_readv, process_vm_writev, process_madvise: memory of another process */

_Static_assert(SYSCALL_PROCESS_VM_READV_X_END == SYSCALL_PROCESS_VM_WRITEV_X_END, "the two have one form");

__inline_always void process_vm__store(struct rec *r, const struct call *c, s64 ret)
{
	/* res: ParamInt64 */
	store__s64(r, ret);
	/* pid: ParamPid */
	store__s64(r, read__int(c, 0));
	/* data: ParamBytebuf, of the caller's own pieces what the call wrote to them or took from them */
	if (ret > 0) {
		u64 size = (u64)forget(&r->cpu->forget[0], read__pointer_size(c->compat));
		store__pieces(r, -1, read__arg(c, 1), read__arg(c, 2), size, ret);
	} else {
		store__missing(r);
	}
}

CALL(process_vm_readv)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_PROCESS_VM_READV_X))
		return 0;
	process_vm__store(&r, &c, ret);
	submit__scratch(&r);
	return 0;
}

CALL(process_vm_writev)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_PROCESS_VM_WRITEV_X))
		return 0;
	process_vm__store(&r, &c, ret);
	submit__scratch(&r);
	return 0;
}

CALL(process_madvise)
{
	struct rec r;
	s64 fd = read__int(&c, 0);
	s64 pid = read__pidfd_number(fd);
	tell__file(&c, 0);
	if (!RESERVE(&r, &c, SYSCALL_PROCESS_MADVISE_X))
		return 0;
	/* res: ParamInt64, bytes that were advised */
	store__s64(&r, ret);
	/* pidfd: ParamFd */
	store__s64(&r, fd);
	/* advice: ParamEnumflags32 */
	store__u32(&r, read__arg(&c, 3));
	/* pid: ParamPid; the process that the fd stands for, by its number in the first namespace */
	store__s64(&r, pid);
	submit__reserved(&r);
	return 0;
}
