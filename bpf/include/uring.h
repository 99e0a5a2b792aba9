/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * uring.h: operations of io_uring, each of which stands for a system call.
 *
 * What an operation is told stands in its entry of the submission queue, and is kept from there until it is complete: the
 * entry is the program's again as soon as the operation is submitted. Entries and results: include/uapi/linux/io_uring.h, the
 * forms of which never change.
 */
#ifndef SHIKRA_URING_H
#define SHIKRA_URING_H

#define URING_OPS 4096  /* operations that may be under way at a time; beyond them the one not looked at for longest is lost */
#define URING_NUMBERS 8192 /* numbers of such operations */
#define URING_NAMES 512 /* paths of such operations */
#define URING_KINDS 256 /* twice the operations' codes: some stand for one call or another */

/* What kind of operation it is, bits. */
#define URING_IN_FIXED 1    /* the file it acts on is a registered one: no fd */
#define URING_OUT_DIRECT 2  /* what it makes becomes a registered file: no fd either */
#define URING_MULTISHOT 4   /* completes any number of times */
#define URING_SILENT 8      /* isn't told of when it succeeds (IOSQE_CQE_SKIP_SUCCESS) */
#define URING_PATHS 16      /* the kernel's copies of its paths are in uring_paths */
#define URING_IN2_FIXED 32  /* as URING_IN_FIXED, its second one */
#define URING_LINKED 64     /* stands behind another in a chain, and is dropped without a word when a silent one there fails */
#define URING_TOLD 128      /* an event was made that may have been this one's end, or another's of the same number */

/* Stands among arguments for the fd of a registered file; no program's fd is this number. */
#define URING_FIXED (-0x7FFFFFFFLL)

/* An operation as a system call. */
struct uring_op {
	u64 args[6]; /* the call's */
	u64 ring, data; /* the ring it was submitted to, and by which number the program knows it */
	u32 tid, tgid;  /* who submitted it; of a polling thread of the kernel the process it works for */
	u16 slot, nr, type;
	u8 kind, compat; /* kind: twice its code, and 1 more where it stands for the second call */
	u32 flags;
	u64 before; /* what stood in the request where its result will */
};

/* By the address of the kernel's request. The kernel takes the same one for another operation when this one is complete. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, URING_OPS);
	__type(key, u64);
	__type(value, struct uring_op);
} uring_ops SEC(".maps");

/*
 * The same requests by ring and number, for completions that name no request. Programs may give several the same number, so that
 * each has an entry of its own, at the first index that is free: multishots behind the others.
 */
struct uring_name {
	u64 ring, data, i;
};
#define URING_SAME 6   /* requests with one number; more are only counted, at this index and of multishots at the next */
#define URING_SHOTS 4  /* where multishots begin */

/* What an entry has beside the request's address, a multiple of 8. */
#define URING_DOUBTED 1  /* an end that may have been this one's was taken for another's */
#define URING_UNWANTED 2 /* nobody wants the operation */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, URING_NUMBERS);
	__type(key, struct uring_name);
	__type(value, u64);
} uring_by_name SEC(".maps");

struct uring_path {
	u32 len, pad; /* bytes, with the NUL */
	u8 s[PATH_MAX];
};

/* By request and index of the argument: see uring__path_key. Of one that was forgotten for want of room there is no path. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, URING_NAMES);
	__type(key, u64);
	__type(value, struct uring_path);
} uring_paths SEC(".maps");

/* What an entry begins as. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct uring_path);
} uring_no_path SEC(".maps");

/* What a CPU is about to make an event of, between two programs of which one hands over to the other. */
struct uring_now {
	u64 busy; /* how many programs want it; the first one has it */
	u64 req;
	u64 file; /* of the request */
	s64 res;
	u32 silent, pad; /* not 0: res isn't known */
	struct uring_op op;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct uring_now);
} uring_now SEC(".maps");

/* The program of each kind of operation. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, URING_KINDS);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} uring_calls SEC(".maps");

/* The system call that each kind of operation stands for; slot 0 for one that nobody wants. The loader changes it meanwhile. */
struct uring_call {
	u16 slot, type; /* its place in the sensor's table plus one; the type of the event */
	u16 nr[2];      /* its native numbers, all ones for none */
};
volatile struct uring_call uring_wanted[URING_KINDS];

/* What the tracepoints of this kernel hand over, set by the loader: see sensor/internal/probe/uring.go. */
const volatile u32 uring_submit_form, uring_failed_form, uring_complete_form;

__inline_always struct uring_now *uring__now(void)
{
	u32 zero = 0;
	return bpf_map_lookup_elem(&uring_now, &zero);
}

/* The registered file that the operation acts on. */
__inline_always struct file *uring__file(void)
{
	struct uring_now *n = uring__now();
	return n ? (struct file *)*(volatile u64 *)&n->file : NULL;
}

/* Requests lie at multiples of 8. */
__inline_always u64 uring__path_key(u64 req, u32 i)
{
	return req | i;
}

#endif
