/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* mount, umount, umount2 */

CALL(mount)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_MOUNT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* dev: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 0));
	/* dir: ParamFspath */
	store__user_string(&r, read__arg(&c, 1));
	/* type: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 2));
	/* flags: ParamFlags32 */
	store__u32(&r, flags__mount(read__arg(&c, 3)));
	submit__scratch(&r);
	return 0;
}

CALL(umount)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_UMOUNT_1_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* name: ParamFspath */
	store__user_string(&r, read__arg(&c, 0));
	submit__scratch(&r);
	return 0;
}

CALL(umount2)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_UMOUNT2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* name: ParamFspath */
	store__user_string(&r, read__arg(&c, 0));
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 1) & 0xf);
	submit__scratch(&r);
	return 0;
}
