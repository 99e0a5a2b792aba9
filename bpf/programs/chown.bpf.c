/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* chown, lchown, fchown, fchownat */

CALL(chown)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_CHOWN_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamFspath */
	store__path_arg(&r, &c, 0);
	/* uid: ParamUint32 */
	store__u32(&r, read__id(&c, 1));
	/* gid: ParamUint32 */
	store__u32(&r, read__id(&c, 2));
	submit__scratch(&r);
	return 0;
}

CALL(lchown)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_LCHOWN_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* path: ParamFspath */
	store__path_arg(&r, &c, 0);
	/* uid: ParamUint32 */
	store__u32(&r, read__id(&c, 1));
	/* gid: ParamUint32 */
	store__u32(&r, read__id(&c, 2));
	submit__scratch(&r);
	return 0;
}

CALL(fchown)
{
	struct rec r;
	tell__file(&c, 0);
	if (!RESERVE(&r, &c, SYSCALL_FCHOWN_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* uid: ParamUint32 */
	store__u32(&r, read__id(&c, 1));
	/* gid: ParamUint32 */
	store__u32(&r, read__id(&c, 2));
	submit__reserved(&r);
	return 0;
}

CALL(fchownat)
{
	struct rec r;
	tell__file(&c, 0);
	if (!BEGIN(&r, &c, SYSCALL_FCHOWNAT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* pathname: ParamFsrelpath */
	store__path_arg(&r, &c, 1);
	/* uid: ParamUint32 */
	store__u32(&r, read__id(&c, 2));
	/* gid: ParamUint32 */
	store__u32(&r, read__id(&c, 3));
	/* flags: ParamFlags32 */
	store__u32(&r, flags__fchownat(read__arg(&c, 4)));
	submit__scratch(&r);
	return 0;
}
