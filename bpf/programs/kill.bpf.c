/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal */

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

CALL(rt_sigqueueinfo)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_RT_SIGQUEUEINFO_X))
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

CALL(rt_tgsigqueueinfo)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_RT_TGSIGQUEUEINFO_X))
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

CALL(pidfd_send_signal)
{
	struct rec r;
	s64 fd = read__int(&c, 0);
	s64 pid = read__pidfd_number(fd);
	tell__file(&c, 0);
	if (!RESERVE(&r, &c, SYSCALL_PIDFD_SEND_SIGNAL_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* pidfd: ParamFd */
	store__s64(&r, fd);
	/* sig: ParamSigtype */
	store__u8(&r, read__arg(&c, 1));
	/* pid: ParamPid; the process that the fd stands for, by its number in the first namespace */
	store__s64(&r, pid);
	submit__reserved(&r);
	return 0;
}
