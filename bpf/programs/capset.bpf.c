/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* capset: what the thread has afterwards */

CALL(capset)
{
	struct rec r;
	struct cred *cred = READ(read__task(), cred);
	if (!RESERVE(&r, &c, SYSCALL_CAPSET_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* cap_inheritable: ParamUint64 */
	store__u64(&r, read__caps(cred, CAPS_INHERITABLE));
	/* cap_permitted: ParamUint64 */
	store__u64(&r, read__caps(cred, CAPS_PERMITTED));
	/* cap_effective: ParamUint64 */
	store__u64(&r, read__caps(cred, CAPS_EFFECTIVE));
	submit__reserved(&r);
	return 0;
}
