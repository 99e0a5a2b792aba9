/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* seccomp */

CALL(seccomp)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SECCOMP_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* op: ParamUint64 */
	store__u64(&r, (u32)read__arg(&c, 0));
	/* flags: ParamUint64 */
	store__u64(&r, (u32)read__arg(&c, 1));
	submit__reserved(&r);
	return 0;
}
