/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* chdir, fchdir, chroot */

CALL(chdir)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_CHDIR_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamCharbuf */
	store__path_arg(&r, &c, 0);
	submit__scratch(&r);
	return 0;
}

CALL(fchdir)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_FCHDIR_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	submit__reserved(&r);
	return 0;
}

CALL(chroot)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_CHROOT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamFspath */
	store__path_arg(&r, &c, 0);
	submit__scratch(&r);
	return 0;
}

CALL(getcwd)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_GETCWD_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamCharbuf, what a call that succeeds was told */
	if (ret >= 0)
		store__user_string(&r, read__arg(&c, 0));
	else
		store__missing(&r);
	submit__scratch(&r);
	return 0;
}
