/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* futex */

CALL(futex)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_FUTEX_X))
		return 0;
	u64 op = read__arg(&c, 1), cmd = op & 0x7f;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* addr: ParamUint64 */
	store__u64(&r, read__arg(&c, 0));
	/* op: ParamFlags16; an operation that the format doesn't know is 0 */
	store__u16(&r, (cmd <= 12 /* FUTEX_CMP_REQUEUE_PI */ ? cmd : 0) | (op & 0x180) /* PRIVATE_FLAG, CLOCK_REALTIME */);
	/* val: ParamUint64 */
	store__u64(&r, read__arg(&c, 2));
	submit__reserved(&r);
	return 0;
}
