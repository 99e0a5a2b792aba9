/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * uring.bpf.c: operations of io_uring, as the system calls that they stand for. An object of its own, on the probe's maps: what
 * makes the event of a call makes that of the operation too, with other arguments (URING in the headers).
 *
 * Three tracepoints say what becomes of an operation: it is submitted, or can't be, and it is complete. When it is complete its
 * arguments are gone, so they are kept from the beginning. The tracepoints hand over different things from kernel to kernel
 * (include/trace/events/io_uring.h); which of them, the loader reads in the kernel's types (uring_submit_form and its like), and
 * the verifier drops the rest. The programs are of the raw_tp kind, whose arguments are numbers on every kernel, and of which those
 * of one tracepoint may call those of another.
 */
#define URING
#include "../include/vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "../include/events_gen.h"
#include "../include/record.h"
#include "../include/maps.h"
#include "../include/uring.h"
#include "../include/read_core.h"
#include "../include/read_call.h"
#include "../include/read_task.h"
#include "../include/read_file.h"
#include "../include/flags.h"
#include "../include/opens.h"
#include "../include/names.h"
#include "../include/submit.h"
#include "../include/store_value.h"
#include "../include/store_string.h"
#include "../include/store_path.h"
#include "../include/store_payload.h"
#include "../include/store_sock.h"
#include "../include/filter.h"
#include "../include/tell.h"

#include "copy.bpf.c"
#include "fd.bpf.c"
#include "link.bpf.c"
#include "mkdir.bpf.c"
#include "open.bpf.c"
#include "poll.bpf.c"
#include "read.bpf.c"
#include "recv.bpf.c"
#include "rename.bpf.c"
#include "send.bpf.c"
#include "sock.bpf.c"
#include "truncate.bpf.c"
#include "unlink.bpf.c"
#include "write.bpf.c"
#include "xattr.bpf.c"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct io_submit_link {
	struct io_kiocb *head;
};
struct io_submit_state {
	struct io_submit_link link;
};
struct io_ring_ctx {
	unsigned int flags;
	u32 *sq_array;
	void *sq_sqes;
	unsigned int cached_sq_head, sq_entries;
	unsigned int compat : 1;
	struct io_submit_state submit_state;
};
struct io_cqe {
	u64 user_data;
	s32 res;
	u32 flags;
};
struct io_kiocb {
	struct file *file;
	u8 opcode;
	struct io_cqe cqe;
	struct io_ring_ctx *ctx;
};
struct io_kiocb___5_15 {
	u64 user_data;
};

#pragma clang attribute pop

/* struct io_uring_sqe, include/uapi/linux/io_uring.h: the members have the names of those that most operations use. */
struct user_sqe {
	u8 opcode, flags;
	u16 ioprio;
	s32 fd;
	u64 off, addr;
	u32 len, op_flags;
	u64 user_data;
	u16 buf_index, personality;
	u32 file_index;
	u64 addr3, pad;
};
struct user_cqe {
	u64 user_data;
	s32 res;
	u32 flags;
};

#define SQE_FIXED_FILE (1 << 0)
#define SQE_BUFFER_SELECT (1 << 5)
#define SQE_CQE_SKIP (1 << 6)
#define CQE_MORE (1 << 1)
#define CQE_NOTIFY (1 << 3)
#define SETUP_SQE128 (1 << 10)
#define SETUP_NO_SQARRAY (1 << 16)
#define ACCEPT_MULTISHOT (1 << 0)
#define RECV_MULTISHOT (1 << 1)
#define SPLICE_FD_IN_FIXED (1u << 31)

enum {
	OP_READV = 1,
	OP_WRITEV = 2,
	OP_FSYNC = 3,
	OP_READ_FIXED = 4,
	OP_WRITE_FIXED = 5,
	OP_SYNC_FILE_RANGE = 8,
	OP_SENDMSG = 9,
	OP_RECVMSG = 10,
	OP_ACCEPT = 13,
	OP_CONNECT = 16,
	OP_FALLOCATE = 17,
	OP_OPENAT = 18,
	OP_CLOSE = 19,
	OP_STATX = 21,
	OP_READ = 22,
	OP_WRITE = 23,
	OP_FADVISE = 24,
	OP_MADVISE = 25,
	OP_SEND = 26,
	OP_RECV = 27,
	OP_OPENAT2 = 28,
	OP_EPOLL_CTL = 29,
	OP_SPLICE = 30,
	OP_TEE = 33,
	OP_SHUTDOWN = 34,
	OP_RENAMEAT = 35,
	OP_UNLINKAT = 36,
	OP_MKDIRAT = 37,
	OP_SYMLINKAT = 38,
	OP_LINKAT = 39,
	OP_FSETXATTR = 41,
	OP_SETXATTR = 42,
	OP_FGETXATTR = 43,
	OP_GETXATTR = 44,
	OP_SOCKET = 45,
	OP_SEND_ZC = 47,
	OP_SENDMSG_ZC = 48,
	OP_READ_MULTISHOT = 49,
	OP_WAITID = 50,
	OP_FUTEX_WAIT = 51,
	OP_FUTEX_WAKE = 52,
	OP_FUTEX_WAITV = 53,
	OP_FIXED_FD_INSTALL = 54,
	OP_FTRUNCATE = 55,
	OP_BIND = 56,
	OP_LISTEN = 57,
	OP_RECV_ZC = 58,
	OP_EPOLL_WAIT = 59,
	OP_READV_FIXED = 60,
	OP_WRITEV_FIXED = 61,
	OP_PIPE = 62,
};

/* Six arguments; of the second and third call of a kind the same. */
#define ARGS(o, a, b, c, d, e, f)                                                                                      \
	do {                                                                                                           \
		(o)->args[0] = (u64)(a), (o)->args[1] = (u64)(b), (o)->args[2] = (u64)(c);                             \
		(o)->args[3] = (u64)(d), (o)->args[4] = (u64)(e), (o)->args[5] = (u64)(f);                             \
	} while (0)

/* The arguments of the call that the entry stands for: man 2 io_uring_enter, and the prep functions of io_uring/opdef.c. */
__inline_always void uring__args(struct uring_op *o, const struct user_sqe *s)
{
	s64 fd = s->flags & SQE_FIXED_FILE ? URING_FIXED : (s64)s->fd;
	u64 addr = s->flags & SQE_BUFFER_SELECT ? 0 : s->addr; /* the kernel chooses one, and says which by a number */
	bool current = s->off == ~0ULL;                        /* no offset: the file's own position, as read(2) has */
	if (s->flags & SQE_FIXED_FILE)
		o->flags |= URING_IN_FIXED;
	switch (s->opcode) {
	case OP_READV:
	case OP_WRITEV:
	case OP_READV_FIXED:
	case OP_WRITEV_FIXED:
	case OP_READ:
	case OP_WRITE:
	case OP_READ_FIXED:
	case OP_WRITE_FIXED:
		o->kind |= !current;
		ARGS(o, fd, addr, s->len, s->off, 0, 0);
		break;
	case OP_READ_MULTISHOT:
		o->flags |= URING_MULTISHOT;
		ARGS(o, fd, addr, s->len, 0, 0, 0);
		break;
	case OP_FSYNC:
		o->kind |= s->op_flags & 1; /* IORING_FSYNC_DATASYNC */
		ARGS(o, fd, 0, 0, 0, 0, 0);
		break;
	case OP_SYNC_FILE_RANGE:
		ARGS(o, fd, s->off, s->len, s->op_flags, 0, 0);
		break;
	case OP_RECVMSG:
		o->flags |= s->ioprio & RECV_MULTISHOT ? URING_MULTISHOT : 0;
	case OP_SENDMSG:
	case OP_SENDMSG_ZC:
		ARGS(o, fd, s->addr, s->op_flags, 0, 0, 0);
		break;
	case OP_RECV:
	case OP_RECV_ZC:
		o->flags |= s->ioprio & RECV_MULTISHOT ? URING_MULTISHOT : 0;
		ARGS(o, fd, addr, s->len, s->op_flags, 0, 0);
		break;
	case OP_SEND:
	case OP_SEND_ZC: /* with an address from 6.0 on, whose length stands where file_index does */
		ARGS(o, fd, addr, s->len, s->op_flags, s->off, s->file_index & 0xFFFF);
		break;
	case OP_ACCEPT:
		o->flags |= (s->ioprio & ACCEPT_MULTISHOT ? URING_MULTISHOT : 0) | (s->file_index ? URING_OUT_DIRECT : 0);
		ARGS(o, fd, s->addr, s->off, s->op_flags, 0, 0);
		break;
	case OP_CONNECT:
	case OP_BIND:
		ARGS(o, fd, s->addr, s->off, 0, 0, 0);
		break;
	case OP_FALLOCATE:
		ARGS(o, fd, s->len, s->off, s->addr, 0, 0);
		break;
	case OP_OPENAT:
		o->flags |= s->file_index ? URING_OUT_DIRECT : 0;
		ARGS(o, s->fd, s->addr, s->op_flags, s->len, 0, 0);
		break;
	case OP_OPENAT2: {
		u64 how[3] = {}; /* struct open_how, include/uapi/linux/openat2.h: the kernel has just read it */
		bpf_probe_read_user(how, sizeof(how), (void *)s->off);
		o->flags |= s->file_index ? URING_OUT_DIRECT : 0;
		ARGS(o, s->fd, s->addr, how[0], how[1], how[2], s->len);
		break;
	}
	case OP_CLOSE:
		o->flags |= s->file_index ? URING_IN_FIXED : 0;
		ARGS(o, s->file_index ? URING_FIXED : (s64)s->fd, 0, 0, 0, 0, 0);
		break;
	case OP_STATX:
		ARGS(o, s->fd, s->addr, s->op_flags, s->len, s->off, 0);
		break;
	case OP_FADVISE:
		ARGS(o, fd, s->off, s->len, s->op_flags, 0, 0);
		break;
	case OP_MADVISE:
		ARGS(o, s->addr, s->len, s->op_flags, 0, 0, 0);
		break;
	case OP_EPOLL_CTL:
		ARGS(o, fd, s->len, s->off, s->addr, 0, 0);
		break;
	case OP_SPLICE:
	case OP_TEE: {
		bool fixed = s->op_flags & SPLICE_FD_IN_FIXED;
		s64 in = fixed ? URING_FIXED : (s64)(s32)s->file_index;
		/* The entry's own fd is the second one of the call. */
		o->flags = (o->flags & ~URING_IN_FIXED) | (fixed ? URING_IN_FIXED : 0) | (s->flags & SQE_FIXED_FILE ? URING_IN2_FIXED : 0);
		if (s->opcode == OP_SPLICE)
			ARGS(o, in, s->addr, fd, s->off, s->len, s->op_flags & ~SPLICE_FD_IN_FIXED);
		else
			ARGS(o, in, fd, s->len, s->op_flags & ~SPLICE_FD_IN_FIXED, 0, 0);
		break;
	}
	case OP_SHUTDOWN:
	case OP_LISTEN:
		ARGS(o, fd, s->len, 0, 0, 0, 0);
		break;
	case OP_RENAMEAT:
	case OP_LINKAT:
		ARGS(o, s->fd, s->addr, (s32)s->len, s->off, s->op_flags, 0);
		break;
	case OP_UNLINKAT:
		ARGS(o, s->fd, s->addr, s->op_flags, 0, 0, 0);
		break;
	case OP_MKDIRAT:
		ARGS(o, s->fd, s->addr, s->len, 0, 0, 0);
		break;
	case OP_SYMLINKAT:
		ARGS(o, s->addr, s->fd, s->off, 0, 0, 0);
		break;
	case OP_FSETXATTR:
		ARGS(o, fd, s->addr, s->off, s->len, s->op_flags, 0);
		break;
	case OP_FGETXATTR:
		ARGS(o, fd, s->addr, s->off, s->len, 0, 0);
		break;
	case OP_SETXATTR:
		ARGS(o, s->addr3, s->addr, s->off, s->len, s->op_flags, 0);
		break;
	case OP_GETXATTR:
		ARGS(o, s->addr3, s->addr, s->off, s->len, 0, 0);
		break;
	case OP_SOCKET:
		o->flags |= s->file_index ? URING_OUT_DIRECT : 0;
		ARGS(o, s->fd, s->off, s->len, 0, 0, 0);
		break;
	case OP_WAITID:
		ARGS(o, s->len, s->fd, s->off, s->file_index, 0, 0);
		break;
	case OP_FUTEX_WAIT:
		ARGS(o, s->addr, s->off, s->addr3, s->fd, 0, 0);
		break;
	case OP_FUTEX_WAKE:
		ARGS(o, s->addr, s->addr3, s->off, s->fd, 0, 0);
		break;
	case OP_FUTEX_WAITV:
		ARGS(o, s->addr, s->len, 0, 0, 0, 0);
		break;
	case OP_FTRUNCATE:
		ARGS(o, fd, s->off, 0, 0, 0, 0);
		break;
	case OP_EPOLL_WAIT:
		ARGS(o, fd, s->addr, s->len, -1, 0, 0);
		break;
	case OP_PIPE:
		/* Where they become registered files, what the program's memory gets are no fds. */
		o->flags |= s->file_index ? URING_IN_FIXED | URING_IN2_FIXED : 0;
		ARGS(o, s->file_index ? 0 : s->addr, s->op_flags, 0, 0, 0, 0);
		break;
	default: /* FIXED_FD_INSTALL: of a registered file an fd; with its flags, which dup doesn't have */
		ARGS(o, fd, s->op_flags, 0, 0, 0, 0);
	}
}

#include "../include/uring_paths.h"
#include "../include/uring_names.h"

/*
 * Makes the event of operation o, which the program of its kind does: this one doesn't come back but when there is none. On kernels
 * that preempt programs, and from an interrupt, another one may want to hand over meanwhile: it gives up, and counts that.
 */
__inline_always void uring__make(void *ctx, const struct uring_op *o, u64 req, s64 res, bool silent)
{
	struct uring_now *n = uring__now();
	if (!n)
		return;
	submit__add(&n->busy, 1);
	if (*(volatile u64 *)&n->busy == 1) {
		n->op = *o;
		n->req = req;
		n->file = (u64)READ((struct io_kiocb *)req, file);
		n->res = res;
		n->silent = silent;
		bpf_tail_call(ctx, &uring_calls, n->op.kind);
		uring__count_lost(n->op.slot, n->op.type); /* no program: it couldn't be loaded */
	} else {
		struct cpu *cpu = submit__cpu();
		if (cpu)
			submit__count_lost(cpu, LOST_BUSY, o->type, o->slot);
	}
	submit__add(&n->busy, -1);
}

/* Whether a call is wanted that an operation of the kind stands for, which is the first of two; that call. */
__inline_always bool uring__is_wanted(u32 first, u32 *slot, u32 *type)
{
	u32 kind = uring_wanted[first].slot ? first : first + 1;
	opaque(kind);
	kind &= URING_KINDS - 1;
	*slot = uring_wanted[kind].slot;
	*type = uring_wanted[kind].type;
	return *slot;
}

/* The entry that the kernel took last from the ring's queue (io_get_sqe, io_uring/io_uring.c). */
__inline_always bool uring__read_sqe(struct io_ring_ctx *ring, struct user_sqe *s)
{
	u32 flags = READ(ring, flags), entries = READ(ring, sq_entries);
	u32 i = (READ(ring, cached_sq_head) - 1) & (entries - 1);
	if (!(flags & SETUP_NO_SQARRAY)) {
		u32 *array = READ(ring, sq_array);
		if (!array || bpf_probe_read_kernel(&i, sizeof(i), (u8 *)array + 4 * (u64)i))
			return false;
	}
	if (i >= entries)
		return false;
	return !bpf_probe_read_kernel(s, sizeof(*s), (u8 *)READ(ring, sq_sqes) + ((u64)i << (flags & SETUP_SQE128 ? 7 : 6)));
}

/* Keeps what request req is told, by the entry at sqe, or by the last one of the queue where that is 0. */
__inline_always int uring__submitted(void *ctx, u64 req, u64 sqe)
{
	struct io_kiocb *r = (void *)req;
	u32 opcode = READ(r, opcode) & (URING_KINDS / 2 - 1);
	u32 first = 2 * opcode & (URING_KINDS - 1);
	opaque(first);
	first &= URING_KINDS - 2;
	u32 slot, type;
	if (!uring__is_wanted(first, &slot, &type)) {
		/* Completions that name no request may be of any. */
		if (uring_complete_form == 1)
			uring__name((u64)READ(r, ctx), uring__data(r, 0), req | URING_UNWANTED, false);
		return 0;
	}
	u64 id = bpf_get_current_pid_tgid();
	if (id >> 32 == self_tgid)
		return 0;
	struct uring_op op = {}, *o = &op;
	struct io_ring_ctx *ring = READ(r, ctx);
	struct user_sqe s = {};
	if (sqe ? bpf_probe_read_kernel(&s, sizeof(s), (void *)sqe) != 0 : !uring__read_sqe(ring, &s)) {
		uring__count_lost(slot, type);
		return 0;
	}
	s.opcode = opcode; /* another thread may have written there meanwhile */
	o->ring = (u64)ring;
	o->data = uring__data(r, s.user_data);
	o->tgid = id >> 32;
	o->tid = READ(read__task(), flags) & IO_WORKER ? id >> 32 : id;
	if (bpf_core_field_exists(ring->compat))
		o->compat = BPF_CORE_READ_BITFIELD_PROBED(ring, compat);
	else /* from 7.0 a bit among others: told by the call under way, which a polling thread has none of */
		o->compat = read__compat(read__task());
	o->kind = first;
	o->flags = 0;
	uring__args(o, &s);
	u32 kind = o->kind;
	opaque(kind);
	kind &= URING_KINDS - 1;
	o->slot = uring_wanted[kind].slot;
	o->type = uring_wanted[kind].type;
	o->nr = uring_wanted[kind].nr[0];
	if (o->compat)
		o->nr = uring_wanted[kind].nr[1];
	if (!o->slot)
		return 0;
	bool silent = s.flags & SQE_CQE_SKIP;
	uring__reused(req);
	if (!sqe && uring__keep_paths(req, opcode))
		o->flags |= URING_PATHS;
	if (silent)
		o->flags |= URING_SILENT;
	if (bpf_core_field_exists(ring->submit_state) && READ(ring, submit_state.link.head))
		o->flags |= URING_LINKED;
	o->before = uring__result(req);
	if (bpf_map_update_elem(&uring_ops, &req, o, BPF_ANY)) {
		uring__count_lost(o->slot, o->type);
		return 0;
	}
	uring__name(o->ring, o->data, req, o->flags & URING_MULTISHOT);
	/* Nothing will tell that it has succeeded, only that it has failed: that is another event then. */
	if (silent && !sqe)
		uring__make(ctx, o, req, 0, true);
	return 0;
}

/* How a completion is told. */
enum uring_end { URING_ENDED, URING_OVERFLOWED };

/* A request is complete, or one of several times. A req of 0 isn't told by the tracepoint, which then knows data. */
__inline_always int uring__ended(void *ctx, u64 ring, u64 req, u64 data, s64 res, u32 cflags, enum uring_end how)
{
	if (cflags & CQE_NOTIFY) /* that a buffer is free again */
		return 0;
	if (!req) {
		if (uring_complete_form == 1)
			req = uring__by_number(ring, data, cflags);
		else if (cflags & CQE_MORE)
			req = uring__by_shot(ring, data);
		else if (how == URING_OVERFLOWED)
			req = uring__by_result(ring, data, (u32)res | (u64)cflags << 32);
		/* else any ring may be sent a completion by IORING_OP_MSG_RING, with any number */
		if (!req)
			return 0;
	}
	u32 first = 2 * (u32)READ((struct io_kiocb *)req, opcode) & (URING_KINDS - 1);
	opaque(first);
	first &= URING_KINDS - 2;
	struct uring_op *o = bpf_map_lookup_elem(&uring_ops, &req);
	if (!o || o->ring != ring || o->data != data || (o->kind & ~1U) != first) {
		/* It was forgotten for want of room, or is older than the probe. */
		u32 slot, type;
		if (uring__is_wanted(first, &slot, &type) && bpf_get_current_pid_tgid() >> 32 != self_tgid)
			uring__count_lost(slot, type);
		return 0;
	}
	struct uring_op op = *o;
	bool ends = !(cflags & CQE_MORE) || !(op.flags & URING_MULTISHOT);
	if (ends && !(op.flags & URING_TOLD && how == URING_OVERFLOWED)) {
		uring__unname(ring, data, req, op.flags & URING_MULTISHOT);
		bpf_map_delete_elem(&uring_ops, &req);
	}
	if (op.flags & URING_SILENT && res >= 0)
		return 0; /* its event was made at once */
	uring__make(ctx, &op, req, res, false);
	return 0;
}

/*
 * One of two arguments of a tracepoint, by a constant of the loader's. Each is read by an instruction of its own, as verifiers
 * take no computed place among the arguments; operands that differ keep the compiler from making one of two.
 */
#define EITHER(first, a, b)                                                                                            \
	({                                                                                                             \
		u64 __v;                                                                                               \
		if (first) {                                                                                           \
			__v = ctx[a];                                                                                  \
			asm volatile("" : "+r"(__v) : "i"(1));                                                          \
		} else {                                                                                               \
			__v = ctx[b];                                                                                  \
			asm volatile("" : "+r"(__v) : "i"(2));                                                          \
		}                                                                                                      \
		__v;                                                                                                   \
	})

/* io_uring_submit_req, up to 6.3 io_uring_submit_sqe: the request is in front, or behind its ring. */
SEC("raw_tp")
int uring_submit(u64 *ctx)
{
	return uring__submitted(ctx, EITHER(uring_submit_form == 1, 0, 1), 0);
}

/* io_uring_req_failed: an entry that can't be made a request of, which is complete with an error next. */
SEC("raw_tp")
int uring_failed(u64 *ctx)
{
	u64 sqe = ctx[0];
	return uring__submitted(ctx, EITHER(uring_failed_form == 1, 1, 2), sqe);
}

/* io_uring_complete: of a completion the request, its number, the result and flags; up to 5.18 no request, from 6.13 all but it in one. */
SEC("raw_tp")
int uring_complete(u64 *ctx)
{
	u64 ring = ctx[0], req = 0;
	struct user_cqe c = {};
	if (uring_complete_form == 1) {
		c.user_data = ctx[1];
		c.res = ctx[2];
		c.flags = ctx[3];
	} else if (uring_complete_form == 2) {
		req = ctx[1];
		c.user_data = EITHER(true, 2, 2);
		c.res = EITHER(true, 3, 3);
		c.flags = ctx[4];
	} else {
		req = EITHER(false, 1, 1);
		u64 cqe = ctx[2];
		bpf_probe_read_kernel(&c, sizeof(c), (void *)cqe);
	}
	return uring__ended(ctx, ring, req, c.user_data, c.res, c.flags, URING_ENDED);
}

/* io_uring_cqe_overflow: a completion for which the queue has no room, and of which io_uring_complete then says nothing. */
SEC("raw_tp")
int uring_overflow(u64 *ctx)
{
	u64 ring = ctx[0], data = ctx[1];
	s64 res = (s32)ctx[2];
	u32 flags = ctx[3];
	if (uring_complete_form == 1) /* which says it there */
		return 0;
	return uring__ended(ctx, ring, 0, data, res, flags, URING_OVERFLOWED);
}

/* any system call that has no program of its own. */
CALL(generic)
{
	struct rec r;
	if (!RESERVE(&r, &c, GENERIC_X))
		return 0;
	/* ID: ParamSyscallid */
	store__u16(&r, code_of[c.slot & (SLOTS - 1)]);
	/* nativeID: ParamUint16 */
	store__u16(&r, c.nr);
	/* nr: ParamUint32 */
	store__u32(&r, c.nr);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* arg0 … arg5: ParamUint64; all ones for the fd of a registered file */
#pragma unroll
	for (int i = 0; i < 6; i++) {
		u64 v = read__arg(&c, i);
		store__u64(&r, v == (u64)URING_FIXED ? ~0ULL : v);
	}
	submit__reserved(&r);
	return 0;
}

#define NO_PARAM 31
#define MAKES_FD 1 /* the result is an fd, or a number of bytes */
#define COUNTS 2
#define FILLS_FDS 3 /* two fds come, into the program's memory */
#define PARSES_NOTHING 4 /* the event has the call's numbers alone, and its result as the fourth parameter */

/*
 * The program of the operations that stand for a call: which parameters are the fds that it acts on, and what its result is. For the
 * result of what became a registered file no fd is looked up: there is none of that number.
 */
#define OPERATION(name, in, in2, what)                                                                                 \
	SEC("raw_tp")                                                                                                  \
	int u_##name(void *ctx)                                                                                        \
	{                                                                                                              \
		struct uring_now *n = uring__now();                                                                    \
		if (!n)                                                                                                \
			return 0;                                                                                      \
		struct call c = {.ctx = ctx, .cpu = submit__cpu(), .task = read__task(), .op = &n->op, .req = n->req};  \
		if (!c.cpu) {                                                                                          \
			submit__add(&n->busy, -1);                                                                      \
			return 0;                                                                                      \
		}                                                                                                      \
		c.nr = n->op.nr == 0xFFFF ? NO_NR : n->op.nr;                                                          \
		c.compat = n->op.compat;                                                                               \
		c.slot = n->op.slot;                                                                                   \
		c.tid = n->op.tid;                                                                                     \
		u32 flags = n->op.flags;                                                                               \
		s64 ret = n->res;                                                                                      \
		u32 at_result = (what) == PARSES_NOTHING ? 1 << 3 : 1;                                                 \
		c.may_drop = 1 << (in) | 1 << (in2) | at_result;                                                       \
		c.drop = (flags & URING_IN_FIXED ? 1 << (in) : 0) | (flags & URING_IN2_FIXED ? 1 << (in2) : 0);        \
		bool no_result = n->silent || ((what) == MAKES_FD && ret >= 0 && flags & URING_OUT_DIRECT);            \
		if (no_result)                                                                                         \
			c.drop |= at_result;                                                                           \
		if ((what) == MAKES_FD && no_result)                                                                   \
			ret = 0x7FFFFFFF;                                                                              \
		if ((what) == MAKES_FD && ret >= 0 && !no_result)                                                      \
			marks__set(n->op.tgid, ret);                                                                   \
		if ((what) == FILLS_FDS)                                                                               \
			marks__all(n->op.tgid);                                                                        \
		u64 req = n->req;                                                                                      \
		bool forget = flags & URING_PATHS && !n->silent; /* should a silent one fail, that makes another event */                                                                   \
		call_##name(c, ret);                                                                                   \
		if (forget)                                                                                            \
			uring__forget_paths(req);                                                                      \
		submit__add(&n->busy, -1);                                                                              \
		return 0;                                                                                              \
	}
OPERATION(generic, NO_PARAM, NO_PARAM, PARSES_NOTHING)
OPERATION(read, 2, NO_PARAM, COUNTS)
OPERATION(pread64, 2, NO_PARAM, COUNTS)
OPERATION(readv, 3, NO_PARAM, COUNTS)
OPERATION(preadv, 3, NO_PARAM, COUNTS)
OPERATION(write, 2, NO_PARAM, COUNTS)
OPERATION(pwrite64, 2, NO_PARAM, COUNTS)
OPERATION(writev, 2, NO_PARAM, COUNTS)
OPERATION(pwritev, 2, NO_PARAM, COUNTS)
OPERATION(sendto, 2, NO_PARAM, COUNTS)
OPERATION(sendmsg, 2, NO_PARAM, COUNTS)
OPERATION(recvfrom, 3, NO_PARAM, COUNTS)
OPERATION(recvmsg, 5, NO_PARAM, COUNTS)
OPERATION(socket, NO_PARAM, NO_PARAM, MAKES_FD)
OPERATION(bind, 2, NO_PARAM, 0)
OPERATION(listen, 1, NO_PARAM, 0)
OPERATION(connect, 2, NO_PARAM, 0)
OPERATION(accept4, NO_PARAM, NO_PARAM, MAKES_FD)
OPERATION(shutdown, 1, NO_PARAM, 0)
OPERATION(openat, NO_PARAM, NO_PARAM, MAKES_FD)
OPERATION(openat2, NO_PARAM, NO_PARAM, MAKES_FD)
OPERATION(close, 1, NO_PARAM, 0)
OPERATION(dup, 1, NO_PARAM, MAKES_FD)
OPERATION(pipe2, 1, 2, FILLS_FDS)
OPERATION(splice, 1, 2, COUNTS)
OPERATION(ftruncate, 1, NO_PARAM, 0)
OPERATION(epoll_wait, NO_PARAM, NO_PARAM, COUNTS)
OPERATION(renameat2, NO_PARAM, NO_PARAM, 0)
OPERATION(unlinkat, NO_PARAM, NO_PARAM, 0)
OPERATION(mkdirat, NO_PARAM, NO_PARAM, 0)
OPERATION(symlinkat, NO_PARAM, NO_PARAM, 0)
OPERATION(linkat, NO_PARAM, NO_PARAM, 0)
OPERATION(setxattr, NO_PARAM, NO_PARAM, 0)
OPERATION(fsetxattr, 1, NO_PARAM, 0)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
