/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ioctl */

CALL(ioctl)
{
	struct rec r;
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
