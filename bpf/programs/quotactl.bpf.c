/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* quotactl */

/* include/uapi/linux/quota.h: struct if_dqblk; 32-bit programs of x86 have the same but for its size */
struct quota_block {
	u64 bhardlimit, bsoftlimit, curspace, ihardlimit, isoftlimit, curinodes, btime, itime;
	u32 valid;
};

/* The same: struct if_dqinfo */
struct quota_info {
	u64 bgrace, igrace;
	u32 flags, valid;
};

/* What valid says is valid. */
enum { QIF_BLIMITS = 1, QIF_SPACE = 2, QIF_ILIMITS = 4, QIF_BTIME = 16, QIF_ITIME = 32 };
enum { IIF_BGRACE = 1, IIF_IGRACE = 2, IIF_FLAGS = 4 };

#define QUOTA_BLOCK_READ 68 /* what both sizes have of a quota_block */

/* From dqb_bhardlimit to dqb_itime. */
__inline_always void quotactl__store_block(struct rec *r, u16 cmd, u64 ptr)
{
	struct quota_block b = {};
	if (cmd & (F_Q_GETQUOTA | F_Q_SETQUOTA))
		bpf_probe_read_user(&b, QUOTA_BLOCK_READ, (void *)ptr);
	/* dqb_bhardlimit: ParamUint64 */
	store__u64(r, b.valid & QIF_BLIMITS ? b.bhardlimit : 0);
	/* dqb_bsoftlimit: ParamUint64 */
	store__u64(r, b.valid & QIF_BLIMITS ? b.bsoftlimit : 0);
	/* dqb_curspace: ParamUint64 */
	store__u64(r, b.valid & QIF_SPACE ? b.curspace : 0);
	/* dqb_ihardlimit: ParamUint64 */
	store__u64(r, b.valid & QIF_ILIMITS ? b.ihardlimit : 0);
	/* dqb_isoftlimit: ParamUint64 */
	store__u64(r, b.valid & QIF_ILIMITS ? b.isoftlimit : 0);
	/* dqb_btime: ParamReltime, as the kernel has it: s */
	store__u64(r, b.valid & QIF_BTIME ? b.btime : 0);
	/* dqb_itime: ParamReltime */
	store__u64(r, b.valid & QIF_ITIME ? b.itime : 0);
}

/* From dqi_bgrace to dqi_flags. */
__inline_always void quotactl__store_info(struct rec *r, u16 cmd, u64 ptr)
{
	struct quota_info i = {};
	if (cmd & (F_Q_GETINFO | F_Q_SETINFO))
		bpf_probe_read_user(&i, sizeof(i), (void *)ptr);
	/* dqi_bgrace: ParamReltime */
	store__u64(r, i.valid & IIF_BGRACE ? i.bgrace : 0);
	/* dqi_igrace: ParamReltime */
	store__u64(r, i.valid & IIF_IGRACE ? i.igrace : 0);
	/* dqi_flags: ParamFlags8 */
	store__u8(r, i.valid & IIF_FLAGS ? i.flags : 0);
}

CALL(quotactl)
{
	struct rec r;
	if (!BEGIN(&r, &c, SYSCALL_QUOTACTL_X))
		return 0;
	u32 given = read__arg(&c, 0), id = read__arg(&c, 2), type = given & 0xff, out = 0;
	u16 cmd = flags__quotactl(given);
	u64 ptr = read__arg(&c, 3);
	if (cmd == F_Q_GETFMT)
		bpf_probe_read_user(&out, sizeof(out), (void *)ptr);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* special: ParamCharbuf */
	store__user_string(&r, read__arg(&c, 1));
	/* quotafilepath: ParamCharbuf, of Q_QUOTAON */
	if (cmd == F_Q_QUOTAON)
		store__user_string(&r, ptr);
	else
		store__missing(&r);
	quotactl__store_block(&r, cmd, ptr);
	quotactl__store_info(&r, cmd, ptr);
	/* quota_fmt_out: ParamFlags8, of Q_GETFMT */
	store__u8(&r, flags__quota_format(out));
	/* cmd: ParamFlags16 */
	store__u16(&r, cmd);
	/* type: ParamFlags8; USRQUOTA, GRPQUOTA */
	store__u8(&r, type < 2 ? 1 << type : 0);
	/* id: ParamUint32, where it is one of a user or a group */
	store__u32(&r, cmd & (F_Q_GETQUOTA | F_Q_SETQUOTA | F_Q_XGETQUOTA | F_Q_XSETQLIM) ? id : 0);
	/* quota_fmt: ParamFlags8, of Q_QUOTAON */
	store__u8(&r, flags__quota_format(cmd == F_Q_QUOTAON ? id : 0));
	submit__scratch(&r);
	return 0;
}
