/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* prctl */

#define PR_SET_NAME 15
#define PR_GET_NAME 16
#define PR_GET_CHILD_SUBREAPER 37

CALL(prctl)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_PRCTL_X))
		return 0;
	u32 option = read__arg(&c, 0);
	u64 arg = read__arg(&c, 1);
	bool name = option == PR_SET_NAME || option == PR_GET_NAME;
	s64 v = name ? 0 : arg;
	if (option == PR_GET_CHILD_SUBREAPER) {
		s32 got = 0;
		bpf_probe_read_user(&got, sizeof(got), (void *)arg);
		v = got;
	}
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* option: ParamEnumflags32 */
	store__u32(&r, option);
	/* arg2_str: ParamCharbuf, of the options that have a name */
	store__user_string(&r, name ? arg : 0);
	/* arg2_int: ParamInt64 */
	store__s64(&r, v);
	submit__scratch(&r);
	return 0;
}
