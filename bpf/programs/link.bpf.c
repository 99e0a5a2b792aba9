/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* link, linkat, symlink, symlinkat */

CALL(link)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_LINK_2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* oldpath: ParamFspath */
	store__path_arg(&r, &c, 0);
	/* newpath: ParamFspath */
	store__path_arg(&r, &c, 1);
	submit__scratch(&r);
	return 0;
}

CALL(linkat)
{
	struct rec r;
	tell__file(&c, 0);
	tell__file(&c, 2);
	if (!BEGIN(&r, &c, SYSCALL_LINKAT_2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* olddir: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* oldpath: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* newdir: ParamFd */
	store__s64(&r, read__int(&c, 2));
	/* newpath: ParamFsrelpath */
	store__path_arg(&r, &c, 3);
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 4) & 0x1400 /* AT_SYMLINK_FOLLOW, AT_EMPTY_PATH */);
	submit__scratch(&r);
	return 0;
}

CALL(symlink)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_SYMLINK_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* target: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 0));
	/* linkpath: ParamFspath */
	store__path_arg(&r, &c, 1);
	submit__scratch(&r);
	return 0;
}

CALL(symlinkat)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_SYMLINKAT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* target: ParamCharbuf */
	store__string_arg(&r, &c, 0);
	/* linkdirfd: ParamFd */
	store__s64(&r, read__int(&c, 1));
	/* linkpath: ParamFsrelpath */
	store__path_arg(&r, &c, 2);
	submit__scratch(&r);
	return 0;
}
