/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* setxattr, lsetxattr, fsetxattr, setxattrat and removexattr in the same forms: attributes of files */

_Static_assert(SYSCALL_SETXATTR_X_END == SYSCALL_REMOVEXATTR_X_END && SYSCALL_FSETXATTR_X_END == SYSCALL_FREMOVEXATTR_X_END &&
		       SYSCALL_SETXATTRAT_X_END == SYSCALL_REMOVEXATTRAT_X_END,
	       "setting and removing have one form");

__inline_always void xattr__store(struct rec *r, const struct call *c, s64 ret)
{
	/* res: ParamErrno */
	store__s64(r, ret);
	/* path: ParamFspath */
	store__path_arg(r, c, 0);
	/* name: ParamCharbuf */
	store__user_string(r, read__arg(c, 1));
}

__inline_always void xattr__store_fd(struct rec *r, const struct call *c, s64 ret)
{
	/* res: ParamErrno */
	store__s64(r, ret);
	/* fd: ParamFd */
	store__s64(r, read__int(c, 0));
	/* name: ParamCharbuf */
	store__user_string(r, read__arg(c, 1));
}

/* Flags from 0x100 on are those of all calls with a directory; below, setxattr's own stand in the structure of the value. */
__inline_always void xattr__store_at(struct rec *r, const struct call *c, s64 ret)
{
	/* res: ParamErrno */
	store__s64(r, ret);
	/* dirfd: ParamFd */
	store__s64(r, read__int(c, 0));
	/* path: ParamFsrelpath */
	store__path_arg(r, c, 1);
	/* flags: ParamFlags32 */
	store__u32(r, read__arg(c, 2));
	/* name: ParamCharbuf */
	store__user_string(r, read__arg(c, 3));
}

#define TELL_NOTHING
#define TELL_FILE tell__file(&c, 0)
#define XATTR(call_name, store, NAME, tell)                                                                                  \
	CALL(call_name)                                                                                                \
	{                                                                                                              \
		struct rec r;                                                                                          \
		tell;                                                                                                  \
		if (!BEGIN(&r, &c, SYSCALL_##NAME##_X))                                                                \
			return 0;                                                                                      \
		store(&r, &c, ret);                                                                                    \
		submit__scratch(&r);                                                                                   \
		return 0;                                                                                              \
	}
XATTR(setxattr, xattr__store, SETXATTR, TELL_NOTHING)
XATTR(lsetxattr, xattr__store, LSETXATTR, TELL_NOTHING)
XATTR(fsetxattr, xattr__store_fd, FSETXATTR, TELL_FILE)
XATTR(setxattrat, xattr__store_at, SETXATTRAT, TELL_FILE)
XATTR(removexattr, xattr__store, REMOVEXATTR, TELL_NOTHING)
XATTR(lremovexattr, xattr__store, LREMOVEXATTR, TELL_NOTHING)
XATTR(fremovexattr, xattr__store_fd, FREMOVEXATTR, TELL_FILE)
XATTR(removexattrat, xattr__store_at, REMOVEXATTRAT, TELL_FILE)
