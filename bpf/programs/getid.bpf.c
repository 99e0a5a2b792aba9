/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* getuid, geteuid, getgid, getegid, getresuid, getresgid. What 32-bit programs call getuid32 and so on is the same. */

#define GETID(name, NAME)                                                                                              \
	CALL(name)                                                                                                     \
	{                                                                                                              \
		struct rec r;                                                                                          \
		if (!RESERVE(&r, &c, SYSCALL_##NAME##_X))                                                              \
			return 0;                                                                                      \
		/* uid, euid: ParamUid; gid, egid: ParamGid */                                                         \
		store__u32(&r, ret);                                                                                   \
		submit__reserved(&r);                                                                                  \
		return 0;                                                                                              \
	}
GETID(getuid, GETUID)
GETID(geteuid, GETEUID)
GETID(getgid, GETGID)
GETID(getegid, GETEGID)

/* The numbers that getresuid and getresgid, of ids of 16 bits, have for 32-bit programs of x86 and of arm alike. */
#define GETRESUID16 165
#define GETRESGID16 171

/* Argument i points to an id; 0 for one that can't be read. */
__inline_always u32 getid__read(const struct call *c, int i)
{
	u32 v = 0;
	u64 ptr = read__arg(c, i);
	if (read__pointer_size(c->compat) == 4 && (c->nr == GETRESUID16 || c->nr == GETRESGID16)) {
		u16 id = 0;
		bpf_probe_read_user(&id, sizeof(id), (void *)ptr);
		return id;
	}
	bpf_probe_read_user(&v, sizeof(v), (void *)ptr);
	return v;
}

CALL(getresuid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_GETRESUID_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* ruid: ParamUid */
	store__u32(&r, getid__read(&c, 0));
	/* euid: ParamUid */
	store__u32(&r, getid__read(&c, 1));
	/* suid: ParamUid */
	store__u32(&r, getid__read(&c, 2));
	submit__reserved(&r);
	return 0;
}

CALL(getresgid)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_GETRESGID_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* rgid: ParamGid */
	store__u32(&r, getid__read(&c, 0));
	/* egid: ParamGid */
	store__u32(&r, getid__read(&c, 1));
	/* sgid: ParamGid */
	store__u32(&r, getid__read(&c, 2));
	submit__reserved(&r);
	return 0;
}
