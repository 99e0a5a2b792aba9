/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* io_uring_setup, io_uring_enter, io_uring_register */

/* The head of struct io_uring_params, include/uapi/linux/io_uring.h. */
struct user_uring_params {
	u32 sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features;
};

CALL(io_uring_setup)
{
	struct rec r;
	struct user_uring_params p = {};
	bpf_probe_read_user(&p, sizeof(p), (void *)read__arg(&c, 1));
	if (!RESERVE(&r, &c, SYSCALL_IO_URING_SETUP_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* entries: ParamUint32 */
	store__u32(&r, read__arg(&c, 0));
	/* sq_entries: ParamUint32 */
	store__u32(&r, p.sq_entries);
	/* cq_entries: ParamUint32 */
	store__u32(&r, p.cq_entries);
	/* flags: ParamFlags32; the format has one of the rings' own flags between SQPOLL and SQ_AFF */
	store__u32(&r, (p.flags & 0x03) | (p.flags & 0x7c) << 1);
	/* sq_thread_cpu: ParamUint32 */
	store__u32(&r, p.sq_thread_cpu);
	/* sq_thread_idle: ParamUint32 */
	store__u32(&r, p.sq_thread_idle);
	/* features: ParamFlags32; SINGLE_MMAP to RSRC_TAGS, the kernel's bits */
	store__u32(&r, p.features & 0x7ff);
	submit__reserved(&r);
	return 0;
}

CALL(io_uring_enter)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_IO_URING_ENTER_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* to_submit: ParamUint32 */
	store__u32(&r, read__arg(&c, 1));
	/* min_complete: ParamUint32 */
	store__u32(&r, read__arg(&c, 2));
	/* flags: ParamFlags32; GETEVENTS, SQ_WAKEUP, SQ_WAIT, EXT_ARG, the kernel's bits */
	store__u32(&r, read__arg(&c, 3) & 15);
	/* sig: ParamSigset; the low half of the pointer, as other sensors of this format give */
	store__u32(&r, read__arg(&c, 4));
	submit__reserved(&r);
	return 0;
}

CALL(io_uring_register)
{
	struct rec r;
	if (!RESERVE(&r, &c, SYSCALL_IO_URING_REGISTER_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, read__int(&c, 0));
	/* opcode: ParamEnumflags16 */
	store__u16(&r, read__arg(&c, 1));
	/* arg: ParamUint64 */
	store__u64(&r, read__arg(&c, 2));
	/* nr_args: ParamUint32 */
	store__u32(&r, read__arg(&c, 3));
	submit__reserved(&r);
	return 0;
}
