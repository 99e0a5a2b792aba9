/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ioctl */

/* include/uapi/asm-generic/ioctls.h; the same on every architecture supported */
#define FIONCLEX 0x5450
#define FIOCLEX 0x5451

CALL(ioctl)
{
	struct rec r;
	u32 request = read__arg(&c, 1);
	if (in_part & PART_IOCTL && (ret != 0 || (request != FIOCLEX && request != FIONCLEX)))
		return 0;
	if (!RESERVE(&r, &c, SYSCALL_IOCTL_3_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* request: ParamUint64 */
	store__u64(&r, read__arg(&c, 1));
	/* argument: ParamUint64 */
	store__u64(&r, read__arg(&c, 2));
	submit__reserved(&r);
	return 0;
}
