/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* setpgid, setsid: process groups and sessions */

CALL(setpgid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SETPGID_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* pid: ParamPid */
	store__s64(&r, read__int(&c, 0));
	/* pgid: ParamPid */
	store__s64(&r, read__int(&c, 1));
	submit__reserved(&r);
	return 0;
}

CALL(setsid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SETSID_X))
		return 0;
	/* res: ParamPid */
	store__s64(&r, ret);
	submit__reserved(&r);
	return 0;
}
