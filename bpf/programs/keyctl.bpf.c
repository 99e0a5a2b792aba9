/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* keyctl */

/* The indexes of the types that an argument may have. */
enum { KEYCTL_IDX_INT64, KEYCTL_IDX_CHARBUF };

/* Operations, include/uapi/linux/keyctl.h; the format's numbers are the same. */
enum {
	K_GET_KEYRING_ID, K_JOIN_SESSION_KEYRING, K_UPDATE, K_REVOKE, K_CHOWN, K_SETPERM, K_DESCRIBE, K_CLEAR, K_LINK, K_UNLINK,
	K_SEARCH, K_READ, K_INSTANTIATE, K_NEGATE, K_SET_REQKEY_KEYRING, K_SET_TIMEOUT, K_ASSUME_AUTHORITY, K_GET_SECURITY,
	K_SESSION_TO_PARENT, K_REJECT, K_INSTANTIATE_IOV, K_INVALIDATE, K_GET_PERSISTENT, K_DH_COMPUTE, K_PKEY_QUERY,
	K_PKEY_ENCRYPT, K_PKEY_DECRYPT, K_PKEY_SIGN, K_PKEY_VERIFY, K_RESTRICT_KEYRING, K_MOVE, K_CAPABILITIES, K_WATCH_KEY,
	K_OPERATIONS
};

#define OP(name) (1ULL << K_##name)
#define PKEY_USE (OP(PKEY_ENCRYPT) | OP(PKEY_DECRYPT) | OP(PKEY_SIGN) | OP(PKEY_VERIFY))

/* The operations that have the argument, and those of them where it is a string. */
#define HAS_ARG5 (OP(SEARCH) | OP(INSTANTIATE) | OP(REJECT) | OP(INSTANTIATE_IOV) | OP(DH_COMPUTE) | OP(MOVE) | PKEY_USE)
#define HAS_ARG4                                                                                                       \
	(HAS_ARG5 | OP(UPDATE) | OP(CHOWN) | OP(DESCRIBE) | OP(READ) | OP(NEGATE) | OP(GET_SECURITY) | OP(WATCH_KEY) |    \
	 OP(RESTRICT_KEYRING) | OP(PKEY_QUERY))
#define HAS_ARG3                                                                                                       \
	(HAS_ARG4 | OP(GET_KEYRING_ID) | OP(SETPERM) | OP(LINK) | OP(UNLINK) | OP(SET_TIMEOUT) | OP(GET_PERSISTENT) |     \
	 OP(CAPABILITIES))
#define HAS_ARG2                                                                                                       \
	(HAS_ARG3 | OP(JOIN_SESSION_KEYRING) | OP(REVOKE) | OP(CLEAR) | OP(SET_REQKEY_KEYRING) | OP(ASSUME_AUTHORITY) |   \
	 OP(INVALIDATE))
#define STRING_ARG2 OP(JOIN_SESSION_KEYRING)
#define STRING_ARG3 (OP(SEARCH) | OP(RESTRICT_KEYRING) | PKEY_USE)
#define STRING_ARG4 (OP(SEARCH) | OP(RESTRICT_KEYRING) | OP(PKEY_QUERY))

/* An argument of the operation whose bit is op: a number, 0 where it has none, or a string, which may be missing. */
__inline_always void keyctl__store(struct rec *r, u64 op, u64 has, u64 strings, s64 v)
{
	if (op & strings)
		store__dyn_string(r, KEYCTL_IDX_CHARBUF, v);
	else
		store__dyn(r, KEYCTL_IDX_INT64, op & has ? v : 0, sizeof(v));
}

/* Argument i; keys are ints, and negative where they stand for keyrings. */
__inline_always s64 keyctl__arg(const struct call *c, int i)
{
	return read__pointer_size(c->compat) == 4 ? read__int(c, i) : read__arg(c, i);
}

CALL(keyctl)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_KEYCTL_X))
		return 0;
	u32 operation = read__arg(&c, 0);
	u64 op = operation < K_OPERATIONS ? 1ULL << operation : 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* operation: ParamEnumflags32 */
	store__u32(&r, operation);
	/* arg2: ParamDyn */
	keyctl__store(&r, op, HAS_ARG2, STRING_ARG2, keyctl__arg(&c, 1));
	/* arg3: ParamDyn */
	keyctl__store(&r, op, HAS_ARG3, STRING_ARG3, keyctl__arg(&c, 2));
	/* arg4: ParamDyn */
	keyctl__store(&r, op, HAS_ARG4, STRING_ARG4, keyctl__arg(&c, 3));
	/* arg5: ParamDyn */
	keyctl__store(&r, op, HAS_ARG5, 0, keyctl__arg(&c, 4));
	submit__scratch(&r);
	return 0;
}
