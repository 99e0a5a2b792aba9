/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* maps.h: everything the probe's programs share with each other and with the loader. */
#ifndef SHIKRA_MAPS_H
#define SHIKRA_MAPS_H

#define SLOTS 512  /* system calls, by their place in the sensor's table plus one */
#define UNKNOWN_SLOT 1 /* the table's first entry: calls by numbers that it doesn't have */
#define NATIVE 512 /* native system call numbers */
#define TYPES 1024 /* event types */

/* Why an event is lost. The order is that of probe.Cause. */
enum { LOST_RING, LOST_BUSY, LOST_TURN, LOST_REQUEST, LOST_CAUSES };
#define PATH_MAX 4096
#define NAME_MAX 256
#define CGROUP_KEYS 6
#define CGROUPS_MAX 1024 /* bytes of a task's cgroups that are kept for the next task */
#define FILTER_PATH_MAX 256 /* bytes; the filter doesn't judge longer paths */

/* What became of one system call's events: counts, one for each CPU. */
struct made {
	u64 sent;    /* records handed to the ring */
	u64 lost;    /* records that weren't */
	u64 missing; /* parameters left out because what they point to couldn't be read */
	u64 cut;     /* parameters shorter than what the program gave */
};

/*
 * One CPU's part of the memory that programs write: counters, and the scratch in which a record of unknown length is
 * made. Programs of one CPU don't interrupt each other, except where a fault inside one starts another, and on PREEMPT_RT
 * kernels, where a task may be preempted within a program: busy then makes the second one give up, and count that.
 * The loader makes one entry for each possible CPU and maps the counters (offsets in probe/counters.go).
 */
struct cpu {
	u64 busy;        /* how many programs want the scratch; the first one has it */
	u64 path_at;     /* where the path being built begins in path */
	u64 at;          /* where the next string goes, bytes from the body's start */
	u32 turn_tid, turn; /* see submit__turn */
	u64 pad[4];      /* what is above shares one cache line */
	struct made made[SLOTS]; /* by slot; [0] is what no system call stands for */
	u64 lost[LOST_CAUSES][TYPES]; /* by cause and event type */
	u64 filtered[SLOTS]; /* by slot: events that nobody could use, and that weren't made */
	u64 forget[3];   /* see read_core.h */
	u64 cgroups_of[CGROUP_KEYS], cgroups_at, cgroups_len; /* of what, when and how long cgroups is; see store_path.h */
	u8 cgroups[CGROUPS_MAX];
	u8 rec[RECORD_HEADER + BODY_MAX + STRING_MAX + 8];
	u8 path[PATH_MAX + NAME_MAX]; /* a path is built backwards, ending at PATH_MAX */
	u8 name[NAME_MAX]; /* one component of it */
	u64 filter_path[FILTER_PATH_MAX / 8 + 1]; /* see filter.h */
};

/* The ring. The loader sets its size. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cpu);
} cpus SEC(".maps");

/* The program of each system call, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, SLOTS);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} calls SEC(".maps");

/*
 * Which native numbers are wanted, a bit each: [0] for the kernel's own ABI, [1] for 32-bit calls on a 64-bit kernel.
 * The loader changes it while programs run.
 */
volatile u64 wanted[2][NATIVE / 64];

/* Of which calls of ia32's socketcall(2) and ipc(2) events are wanted, a bit each by CALL_ index; changed like wanted. */
volatile u32 wanted_sub[2];

/* Whether ends of calls are wanted whose number is beyond NATIVE: WANTED_ bits; changed like wanted. */
volatile u32 wanted_beyond;
#define WANTED_UNKNOWN 1   /* numbers that nobody knows */
#define WANTED_SIGRETURN 2 /* returns from signal handlers, whose number the kernel wipes */

/* Calls of which only those make events that change fds or what they are, as nobody but state asks for them: PART_ bits; changed like wanted. */
volatile u32 in_part;
#define PART_IOCTL 1
#define PART_RECVMSG 2
#define PART_GETSOCKOPT 4

/* The sensor's own process, whose events aren't made; 0 for none. Set by the program self. */
volatile u32 self_tgid;

/* How many of its own wanted calls, new threads and their ends were seen: by them the sensor finds out whether it still sees. */
volatile u64 self_calls, self_forks, self_exits;

/* What follows is set by the loader before the programs are loaded, and read-only from then on. */
const volatile u16 slot_of[2][NATIVE];  /* the slot of a native number, UNKNOWN_SLOT for one that no table has */
const volatile u16 code_of[SLOTS];      /* the code (syscalls.txt) of a slot's system call */
const volatile u16 sub_slot[2][32];     /* the slots of what socketcall and ipc stand for; their own where it is nothing */
const volatile u32 sigreturn_nr[2];     /* native numbers of rt_sigreturn */
const volatile u32 clone_nr[2][4];      /* native numbers of clone, fork, vfork, clone3 */
const volatile u32 execveat_nr[2];      /* and of execveat */
const volatile u32 ring_bytes = 8 << 20;
const volatile u32 snaplen = 80;        /* most bytes of what is sent */
const volatile u16 exec_slot[2];        /* slots of execve and execveat */
const volatile u32 realtime;            /* a PREEMPT_RT kernel: one program may be preempted by another */
const volatile u32 page_kb_shift = 2;   /* a page is 1 << page_kb_shift KiB */
const volatile u32 fexit;               /* not 0: programs are attached to system calls' functions, nothing dispatches */
const volatile u32 only_slot;           /* and this one makes events of this slot's call only; 0 for any */

#endif
