/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* brk, mmap, mmap2, munmap, mprotect */

CALL(brk)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_BRK_4_X))
		return 0;
	/* res: ParamUint64, the break there is then */
	store__u64(&r, ret);
	store__memory(&r, READ(read__task(), mm));
	/* addr: ParamUint64 */
	store__u64(&r, read__arg(&c, 0));
	submit__reserved(&r);
	return 0;
}

#define IA32_OLD_MMAP 90

/* The six arguments of mmap. A 32-bit program on amd64 may give their address (struct mmap_arg_struct32, sys_ia32.c). */
__inline_always void memory__mmap_args(const struct call *c, u64 *v)
{
#if defined(__TARGET_ARCH_x86)
	if (c->compat && c->nr == IA32_OLD_MMAP) {
		u32 a[6] = {};
		bpf_probe_read_user(a, sizeof(a), (void *)read__arg(c, 0));
#pragma unroll
		for (int i = 0; i < 6; i++)
			v[i] = a[i];
		return;
	}
#endif
#pragma unroll
	for (int i = 0; i < 6; i++)
		v[i] = read__arg(c, i);
}

_Static_assert(SYSCALL_MMAP_X_N == SYSCALL_MMAP2_X_N && SYSCALL_MMAP_X_END == SYSCALL_MMAP2_X_END, "the two have one form");

__inline_always void memory__store_mmap(struct rec *r, const struct call *c, s64 ret)
{
	u64 a[6];
	memory__mmap_args(c, a);
	/* res: ParamErrno, the address */
	store__s64(r, ret);
	store__memory(r, READ(read__task(), mm));
	/* addr: ParamUint64 */
	store__u64(r, a[0]);
	/* length: ParamUint64 */
	store__u64(r, a[1]);
	/* prot: ParamFlags32 */
	store__u32(r, flags__prot(a[2]));
	/* flags: ParamFlags32 */
	store__u32(r, flags__mmap(a[3]));
	/* fd: ParamFd */
	store__s64(r, (s32)a[4]);
	/* offset: ParamUint64, of mmap2 in units of 4096 bytes */
	store__u64(r, a[5]);
}

CALL(mmap)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_MMAP_X))
		return 0;
	memory__store_mmap(&r, &c, ret);
	submit__reserved(&r);
	return 0;
}

CALL(mmap2)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_MMAP2_X))
		return 0;
	memory__store_mmap(&r, &c, ret);
	submit__reserved(&r);
	return 0;
}

CALL(munmap)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_MUNMAP_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	store__memory(&r, READ(read__task(), mm));
	/* addr: ParamUint64 */
	store__u64(&r, read__arg(&c, 0));
	/* length: ParamUint64 */
	store__u64(&r, read__arg(&c, 1));
	submit__reserved(&r);
	return 0;
}

CALL(mprotect)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_MPROTECT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* addr: ParamUint64 */
	store__u64(&r, read__arg(&c, 0));
	/* length: ParamUint64 */
	store__u64(&r, read__arg(&c, 1));
	/* prot: ParamFlags32 */
	store__u32(&r, flags__prot(read__arg(&c, 2)));
	submit__reserved(&r);
	return 0;
}
