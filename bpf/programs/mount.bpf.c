/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* mount, umount, umount2, fsconfig, move_mount */

/*
 * Marks a mount that may lie where the sensor sees it: its thread is in the sensor's mount namespace, or in one whose root is shared, so
 * that what is mounted there is mounted in others too (mnt_group_id: fs/pnode.c). Where the sensor's isn't known, any may.
 */
__inline_always void mount__mark(struct rec *r, const struct call *c)
{
	struct vfsmount *vm = READ(READ(c->task, fs), root.mnt);
	struct mount *m = (void *)vm - bpf_core_field_offset(struct mount, mnt);
	if (!self_mnt_ns || (u64)READ(READ(c->task, nsproxy), mnt_ns) == self_mnt_ns || READ(m, mnt_group_id))
		*(volatile u16 *)(r->p + RECORD_ORIGIN) |= ORIGIN_REACHES;
}

CALL(mount)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_MOUNT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* dev: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 0));
	/* dir: ParamFspath */
	store__path_arg(&r, &c, 1);
	/* type: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 2));
	/* flags: ParamFlags32 */
	store__u32(&r, flags__mount(read__arg(&c, 3)));
	mount__mark(&r, &c);
	submit__scratch(&r);
	return 0;
}

CALL(umount)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_UMOUNT_1_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* name: ParamFspath */
	store__path_arg(&r, &c, 0);
	submit__scratch(&r);
	return 0;
}

CALL(umount2)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_UMOUNT2_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* name: ParamFspath */
	store__path_arg(&r, &c, 0);
	/* flags: ParamFlags32 */
	store__u32(&r, read__arg(&c, 1) & 0xf);
	submit__scratch(&r);
	return 0;
}

enum { FSCONFIG_SET_STRING = 1, FSCONFIG_SET_BINARY = 2, FSCONFIG_SET_PATH = 3, FSCONFIG_SET_PATH_EMPTY = 4 };

CALL(fsconfig)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_FSCONFIG_X))
		return 0;
	u32 cmd = read__arg(&c, 1);
	u64 value = read__arg(&c, 3), aux = (u32)read__arg(&c, 4);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* cmd: ParamEnumflags32 */
	store__u32(&r, cmd);
	/* key: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 2));
	/* value_bytebuf: ParamBytebuf, of a call that succeeds; so is the next */
	if (ret >= 0 && cmd == FSCONFIG_SET_BINARY)
		store__user_bytes(&r, value, aux, STRING_MAX);
	else
		store__missing(&r);
	/* value_charbuf: ParamCharbuf */
	if (ret >= 0 && (cmd == FSCONFIG_SET_STRING || cmd == FSCONFIG_SET_PATH || cmd == FSCONFIG_SET_PATH_EMPTY))
		store__user_string(&r, value);
	else
		store__missing(&r);
	/* aux: ParamInt32 */
	store__s32(&r, aux);
	submit__scratch(&r);
	return 0;
}

CALL(move_mount)
{
	struct rec r;
	tell__file(&c, 0);
	tell__file(&c, 2);
	if (!BEGIN(&r, &c, SYSCALL_MOVE_MOUNT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* from_dirfd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* from_path: ParamFsrelpath; empty with a file system that fsmount made */
	store__path_arg(&r, &c, 1);
	/* to_dirfd: ParamFd */
	store__s64(&r, read__int(&c, 2));
	/* to_path: ParamFsrelpath */
	store__path_arg(&r, &c, 3);
	/* flags: ParamUint32 */
	store__u32(&r, read__arg(&c, 4));
	mount__mark(&r, &c);
	submit__scratch(&r);
	return 0;
}
