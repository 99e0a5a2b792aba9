/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* semget, semop, semctl */

/* include/uapi/linux/ipc.h, sem.h */
#define IPC_64 0x100 /* what 32-bit programs add to a command */
#define SEM_SETVAL 16

/* include/uapi/linux/sem.h: struct sembuf */
struct sem_op {
	u16 num;
	s16 op;
	u16 flags;
};

CALL(semget)
{
	struct rec r;
	u64 a[5];
	read__ipc_args(&c, a);
	if (!RESERVE(&r, &c, SYSCALL_SEMGET_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* key: ParamInt32 */
	store__s32(&r, a[0]);
	/* nsems: ParamInt32 */
	store__s32(&r, a[1]);
	/* semflg: ParamFlags32 */
	store__u32(&r, flags__semget(a[2]));
	submit__reserved(&r);
	return 0;
}

CALL(semop)
{
	struct rec r;
	u64 a[5];
	read__ipc_args(&c, a);
	if (!RESERVE(&r, &c, SYSCALL_SEMOP_X))
		return 0;
	struct sem_op ops[2] = {};
	u32 n = a[2];
	if (ret == 0 && n > 0)
		bpf_probe_read_user(&ops[0], sizeof(ops[0]), (void *)a[1]);
	if (ret == 0 && n > 1)
		bpf_probe_read_user(&ops[1], sizeof(ops[1]), (void *)(a[1] + sizeof(ops[0])));
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* nsops: ParamUint32 */
	store__u32(&r, n);
	/* sem_num_0: ParamUint16; what a call that failed was to do isn't told */
	store__u16(&r, ops[0].num);
	/* sem_op_0: ParamInt16 */
	store__u16(&r, ops[0].op);
	/* sem_flg_0: ParamFlags16 */
	store__u16(&r, flags__semop(ops[0].flags));
	/* sem_num_1: ParamUint16 */
	store__u16(&r, ops[1].num);
	/* sem_op_1: ParamInt16 */
	store__u16(&r, ops[1].op);
	/* sem_flg_1: ParamFlags16 */
	store__u16(&r, flags__semop(ops[1].flags));
	/* semid: ParamInt32 */
	store__s32(&r, a[0]);
	submit__reserved(&r);
	return 0;
}

CALL(semctl)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_SEMCTL_X))
		return 0;
	u64 a[5];
	read__ipc_args(&c, a);
	u32 cmd = a[2];
	if (read__pointer_size(c.compat) == 4)
		cmd &= ~IPC_64;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* semid: ParamInt32 */
	store__s32(&r, a[0]);
	/* semnum: ParamInt32 */
	store__s32(&r, a[1]);
	/* cmd: ParamFlags16 */
	store__u16(&r, flags__semctl(cmd));
	/* val: ParamInt32, SETVAL's */
	store__s32(&r, cmd == SEM_SETVAL ? a[3] : 0);
	submit__reserved(&r);
	return 0;
}
