/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* pidfd_open, pidfd_getfd */

CALL(pidfd_open)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_PIDFD_OPEN_X))
		return 0;
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* pid: ParamPid */
	store__s64(&r, read__int(&c, 0));
	/* flags: ParamFlags32; PIDFD_NONBLOCK is O_NONBLOCK to the kernel, 1 to the format */
	store__u32(&r, MOVE(read__arg(&c, 1), O_NONBLOCK, 1));
	submit__reserved(&r);
	return 0;
}

CALL(pidfd_getfd)
{
	struct rec r;
	s64 fd = read__int(&c, 0);
	s64 pid = read__pidfd_number(fd);
	tell__file(&c, 0);
	if (ret >= 0)
		tell__fd(ret, c.tid, c.slot);
	if (!RESERVE(&r, &c, SYSCALL_PIDFD_GETFD_X))
		return 0;
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* pid_fd: ParamFd */
	store__s64(&r, fd);
	/* target_fd: ParamFd */
	store__s64(&r, read__int(&c, 1));
	/* flags: ParamUint32 */
	store__u32(&r, read__arg(&c, 2));
	/* pid: ParamPid; the process that the fd stands for, by its number in the first namespace */
	store__s64(&r, pid);
	submit__reserved(&r);
	return 0;
}
