/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* kill, tkill, tgkill */

CALL(kill)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_KILL_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* pid: ParamPid */
	store__s64(&r, read__int(&c, 0));
	/* sig: ParamSigtype */
	store__u8(&r, read__arg(&c, 1));
	submit__reserved(&r);
	return 0;
}

CALL(tkill)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_TKILL_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* tid: ParamPid */
	store__s64(&r, read__int(&c, 0));
	/* sig: ParamSigtype */
	store__u8(&r, read__arg(&c, 1));
	submit__reserved(&r);
	return 0;
}

CALL(tgkill)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_TGKILL_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* pid: ParamPid */
	store__s64(&r, read__int(&c, 0));
	/* tid: ParamPid */
	store__s64(&r, read__int(&c, 1));
	/* sig: ParamSigtype */
	store__u8(&r, read__arg(&c, 2));
	submit__reserved(&r);
	return 0;
}
