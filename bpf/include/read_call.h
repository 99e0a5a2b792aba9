/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * read_call.h: which system call it was, and its arguments, where that isn't what the registers say: ia32's socketcall(2)
 * and ipc(2) stand for many calls, and the return from a signal handler has no number any more when it ends.
 */
#ifndef SHIKRA_READ_CALL_H
#define SHIKRA_READ_CALL_H

#define IA32_SOCKETCALL 102
#define IA32_IPC 117

/* Indices of sub_slot and wanted_sub. */
#define CALL_SOCKETCALL 0
#define CALL_IPC 1

/* What ipc(2) is told to do (include/uapi/linux/ipc.h). */
#define IPC_SEMOP 1
#define IPC_SEMCTL 3
#define IPC_SEMTIMEDOP 4
#define IPC_MSGSND 11
#define IPC_MSGRCV 12
#define IPC_MSGCTL 14
#define IPC_SHMAT 21
#define IPC_SHMDT 22
#define IPC_SHMCTL 24

/* Whether the call is one that stands for many. */
__inline_always bool read__is_multiplexer(const struct call *c)
{
#if defined(__TARGET_ARCH_x86) && !defined(URING)
	return c->compat && (c->nr == IA32_SOCKETCALL || c->nr == IA32_IPC);
#else
	return false;
#endif
}

/* Which of them: CALL_SOCKETCALL or CALL_IPC. */
__inline_always u32 read__multiplexer(const struct call *c)
{
	return c->nr == IA32_IPC ? CALL_IPC : CALL_SOCKETCALL;
}

/* The call it stands for, less than 32; 0 for none. ipc's upper half is a version. */
__inline_always u32 read__sub(const struct call *c)
{
	u32 n = read__arg(c, 0);
	if (c->nr == IA32_IPC)
		n &= 0xFFFF;
	return n < 32 ? n : 0;
}

/*
 * Whether what ends is a return from a signal handler. The kernel puts all ones in place of the number then, so that nothing
 * is restarted (restore_sigcontext in arch/x86/kernel/signal_64.c, forget_syscall in arch/arm64/include/asm/ptrace.h). It
 * does so nowhere else: a tracer may, and a program that calls that number gets ENOSYS.
 */
__inline_always bool read__is_sigreturn(u32 nr, s64 ret)
{
	return nr == NO_NR && (s32)ret != -38 && !READ(read__task(), ptrace);
}

/*
 * Whether what ends is an exec that changed the ABI: the task is of the new one, the number of the old. x86 changes the
 * number too; arm64 leaves it, but clears the register that the program had it in (start_thread_common in
 * arch/arm64/include/asm/processor.h), which no call does.
 */
__inline_always bool read__is_exec_end(const struct call *c)
{
#if defined(__TARGET_ARCH_arm64) && !defined(URING)
	if (c->compat) /* arm64's execve, execveat */
		return (c->nr == 221 || c->nr == 281) && c->regs->regs[7] != c->nr;
	return (c->nr == 11 || c->nr == 387) && c->regs->regs[8] != c->nr; /* arm's */
#else
	return false;
#endif
}

/* The slot of the call meant. */
__inline_always u32 read__slot(const struct call *c)
{
	if (c->nr >= NATIVE)
		return UNKNOWN_SLOT;
	if (read__is_multiplexer(c))
		return sub_slot[read__multiplexer(c)][read__sub(c) & 31] & (SLOTS - 1);
	/* The compiler knows the bounds, and would leave out what verifiers of arm64's 5.10 and 6.1 want to see. */
	u64 compat = c->compat, nr = c->nr;
	opaque(compat);
	opaque(nr);
	return slot_of[compat & 1][nr & (NATIVE - 1)] & (SLOTS - 1);
}

/*
 * The result. arm64 kernels before 5.14 left that of a 32-bit call without its sign; an address of such a program has none.
 */
__inline_always s64 read__ret(u32 compat, s64 ret)
{
#if defined(__TARGET_ARCH_arm64)
	if (compat)
		return (u32)ret >= 0xFFFFF001 ? (s64)(s32)ret : (s64)(u32)ret;
#endif
	return ret;
}

/* The first n arguments, a constant of at most 6, of a network call: ia32 may make it through socketcall(2), in memory. */
__inline_always void read__net_args(const struct call *c, u64 *v, int n)
{
#if defined(__TARGET_ARCH_x86) && !defined(URING)
	if (c->compat && c->nr == IA32_SOCKETCALL) {
		u32 a[6] = {};
		bpf_probe_read_user(a, 4 * n, (void *)read__arg(c, 1));
#pragma unroll
		for (int i = 0; i < n; i++)
			v[i] = a[i];
		return;
	}
#endif
#pragma unroll
	for (int i = 0; i < n; i++)
		v[i] = read__arg(c, i);
}

/*
 * The arguments of a System V IPC call, five of them: ia32 may make it through ipc(2), whose arguments are the call, three
 * numbers, a pointer and one more (compat_ksys_ipc in ipc/syscall.c).
 */
__inline_always void read__ipc_args(const struct call *c, u64 *v)
{
#if defined(__TARGET_ARCH_x86) && !defined(URING)
	if (c->compat && c->nr == IA32_IPC) {
		u32 first = read__arg(c, 1), second = read__arg(c, 2), third = read__arg(c, 3), ptr = read__arg(c, 4), fifth = read__arg(c, 5);
		u32 two[2] = {};
		v[0] = first, v[1] = second, v[2] = third, v[3] = 0, v[4] = 0;
		switch (read__sub(c)) {
		case IPC_SEMTIMEDOP:
			v[3] = fifth;
		case IPC_SEMOP:
			v[1] = ptr, v[2] = second;
			break;
		case IPC_SEMCTL: /* its fourth lies in memory */
			bpf_probe_read_user(two, 4, (void *)(u64)ptr);
			v[3] = two[0];
			break;
		case IPC_MSGSND:
			v[1] = ptr, v[2] = second, v[3] = third;
			break;
		case IPC_MSGRCV: /* in version 0 the buffer and the type lie in memory */
			if (!((u32)read__arg(c, 0) >> 16)) {
				bpf_probe_read_user(two, 8, (void *)(u64)ptr);
				ptr = two[0], fifth = two[1];
			}
			v[1] = ptr, v[2] = second, v[3] = fifth, v[4] = third;
			break;
		case IPC_SHMAT:
			v[1] = ptr, v[2] = second;
			break;
		case IPC_SHMDT:
			v[0] = ptr, v[1] = 0, v[2] = 0;
			break;
		case IPC_MSGCTL:
		case IPC_SHMCTL:
			v[2] = ptr;
			break;
		}
		return;
	}
#endif
#pragma unroll
	for (int i = 0; i < 5; i++)
		v[i] = read__arg(c, i);
}

/* The six arguments of the call meant, whose slot is known, as they are; those that it doesn't have are whatever the program left there. */
__inline_always void read__args(const struct call *c, u64 *v)
{
#if defined(__TARGET_ARCH_x86) && !defined(URING)
	if (read__is_multiplexer(c) && c->slot != sub_slot[read__multiplexer(c)][0]) {
		if (c->nr == IA32_IPC) {
			read__ipc_args(c, v);
			v[5] = 0;
			return;
		}
		/* How many there are (net/socket.c, nargs): what lies behind them needn't be memory. */
		static const u8 words[32] = {0, 3, 3, 3, 2, 3, 3, 3, 4, 4, 4, 6, 6, 2, 5, 5, 3, 3, 4, 5, 4};
		u32 a[6] = {};
		u32 n = words[read__sub(c) & 31] & 7;
		opaque(n); /* the compiler knows the bound, which 5.10's verifier wants to see */
		if (n > 6)
			n = 6;
		bpf_probe_read_user(a, 4 * n, (void *)read__arg(c, 1));
#pragma unroll
		for (int i = 0; i < 6; i++)
			v[i] = a[i];
		return;
	}
#endif
#pragma unroll
	for (int i = 0; i < 6; i++)
		v[i] = read__arg(c, i);
}

#endif
