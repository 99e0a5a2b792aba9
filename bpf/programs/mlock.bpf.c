/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* mlock, mlock2, munlock, mlockall, munlockall */

#define MLOCK(name, NAME)                                                                                              \
	CALL(name)                                                                                                     \
	{                                                                                                              \
		struct rec r;                                                                                          \
		if (!RESERVE(&r, &c, SYSCALL_##NAME##_X))                                                              \
			return 0;                                                                                      \
		/* res: ParamErrno */                                                                                  \
		store__s64(&r, ret);                                                                                   \
		/* addr: ParamUint64 */                                                                                \
		store__u64(&r, read__arg(&c, 0));                                                                      \
		/* len: ParamUint64 */                                                                                 \
		store__u64(&r, read__arg(&c, 1));                                                                      \
		submit__reserved(&r);                                                                                  \
		return 0;                                                                                              \
	}
MLOCK(mlock, MLOCK)
MLOCK(munlock, MUNLOCK)

CALL(mlock2)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_MLOCK2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* addr: ParamUint64 */
	store__u64(&r, read__arg(&c, 0));
	/* len: ParamUint64 */
	store__u64(&r, read__arg(&c, 1));
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 2) & 1 /* MLOCK_ONFAULT */);
	submit__reserved(&r);
	return 0;
}

CALL(mlockall)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_MLOCKALL_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 0) & 7 /* MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT */);
	submit__reserved(&r);
	return 0;
}

CALL(munlockall)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_MUNLOCKALL_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	submit__reserved(&r);
	return 0;
}
