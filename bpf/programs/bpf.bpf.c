/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* bpf */

CALL(bpf)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_BPF_2_X))
		return 0;
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* cmd: ParamEnumflags32 */
	store__u32(&r, read__arg(&c, 0));
	submit__reserved(&r);
	return 0;
}
