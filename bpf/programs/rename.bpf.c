/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* rename, renameat, renameat2 */

CALL(rename)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_RENAME_X))
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

CALL(renameat)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_RENAMEAT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* olddirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* oldpath: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* newdirfd: ParamFd */
	store__s64(&r, read__int(&c, 2));
	/* newpath: ParamFsrelpath */
	store__path_arg(&r, &c, 3);
	submit__scratch(&r);
	return 0;
}

CALL(renameat2)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_RENAMEAT2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* olddirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* oldpath: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* newdirfd: ParamFd */
	store__s64(&r, read__int(&c, 2));
	/* newpath: ParamFsrelpath */
	store__path_arg(&r, &c, 3);
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 4));
	submit__scratch(&r);
	return 0;
}
