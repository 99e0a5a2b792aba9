/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* nanosleep */

CALL(nanosleep)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_NANOSLEEP_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* interval: ParamReltime, ns asked for */
	store__u64(&r, read__user_timespec(read__arg(&c, 0), read__pointer_size(c.compat)));
	submit__reserved(&r);
	return 0;
}
