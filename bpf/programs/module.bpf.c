/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* init_module, finit_module, delete_module */

CALL(init_module)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_INIT_MODULE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* img: ParamBytebuf */
	store__user_bytes(&r, read__arg(&c, 0), read__arg(&c, 1), STRING_MAX);
	/* length: ParamUint64 */
	store__u64(&r, read__arg(&c, 1));
	/* uargs: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 2));
	submit__scratch(&r);
	return 0;
}

CALL(finit_module)
{
	struct rec r;
	tell__file(&c, 0);
	if (!BEGIN(&r, &c, SYSCALL_FINIT_MODULE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* uargs: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 1));
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 2) & 7);
	submit__scratch(&r);
	return 0;
}

CALL(delete_module)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_DELETE_MODULE_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* name: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 0));
	/* flags: ParamFlags32 */
	store__u32(&r, flags__delete_module(read__arg(&c, 1)));
	submit__scratch(&r);
	return 0;
}
