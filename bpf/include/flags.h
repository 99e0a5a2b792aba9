/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * flags.h: from the kernel's flags to the event format's, which are the same on every architecture (the tables of events.txt).
 * Single bits are moved without a branch. Kernel values: include/uapi/asm-generic, include/uapi/linux and, where they
 * differ, arch/ * /include/uapi/asm, all of which never change.
 */
#ifndef SHIKRA_FLAGS_H
#define SHIKRA_FLAGS_H

/* The bit to of the result, when v has the bit from; both constants with one bit set. */
#define MOVE(v, from, to) ((from) >= (to) ? ((v) & (from)) / ((from) / (to)) : ((v) & (from)) * ((to) / (from)))

/* open(2). The four differ between arm and the rest; 32-bit programs have those of their own family. */
#define O_WRONLY 01
#define O_RDWR 02
#define O_CREAT 0100
#define O_EXCL 0200
#define O_TRUNC 01000
#define O_APPEND 02000
#define O_NONBLOCK 04000
#define O_DSYNC 010000
#define O_CLOEXEC 02000000
#define O_SYNC 04000000    /* the bit that O_SYNC has beyond O_DSYNC */
#define O_TMPFILE 020000000 /* the bit that O_TMPFILE has beyond O_DIRECTORY */
#if defined(__TARGET_ARCH_arm64) || defined(__TARGET_ARCH_arm)
#define O_DIRECTORY 040000
#define O_DIRECT 0200000
#define O_LARGEFILE 0400000
#else
#define O_DIRECT 040000
#define O_LARGEFILE 0100000
#define O_DIRECTORY 0200000
#endif

/* The format's own bits. */
#define F_RDONLY 0x1u
#define F_WRONLY 0x2u
#define F_RDWR 0x3u
#define F_CREAT 0x4u
#define F_APPEND 0x8u
#define F_DSYNC 0x10u
#define F_EXCL 0x20u
#define F_NONBLOCK 0x40u
#define F_SYNC 0x80u
#define F_TRUNC 0x100u
#define F_DIRECT 0x200u
#define F_DIRECTORY 0x400u
#define F_LARGEFILE 0x800u
#define F_CLOEXEC 0x1000u
#define F_TMPFILE 0x2000u
#define F_CREATED 0x4000u
#define F_UPPER_LAYER 0x8000u
#define F_LOWER_LAYER 0x10000u

__inline_always u32 flags__open(u32 v)
{
	u32 mode = v & 3;
	return (mode == O_WRONLY ? F_WRONLY : mode == O_RDWR ? F_RDWR : F_RDONLY) | MOVE(v, O_CREAT, F_CREAT) |
	       MOVE(v, O_EXCL, F_EXCL) | MOVE(v, O_TRUNC, F_TRUNC) | MOVE(v, O_APPEND, F_APPEND) |
	       MOVE(v, O_NONBLOCK, F_NONBLOCK) | MOVE(v, O_DSYNC, F_DSYNC) | MOVE(v, O_SYNC, F_SYNC) |
	       MOVE(v, O_DIRECT, F_DIRECT) | MOVE(v, O_LARGEFILE, F_LARGEFILE) | MOVE(v, O_DIRECTORY, F_DIRECTORY) |
	       MOVE(v, O_CLOEXEC, F_CLOEXEC) | MOVE(v, O_TMPFILE, F_TMPFILE);
}

/* The mode of an open: 0 when it can't make a file. The format's permission bits are the kernel's. */
__inline_always u32 flags__open_mode(u32 flags, u32 mode)
{
	return flags & (O_CREAT | O_TMPFILE) ? mode & 07777 : 0;
}

/* SOCK_NONBLOCK and SOCK_CLOEXEC, in socket's type, in accept4's, dup3's and pipe2's flags: all have open's values. */
__inline_always u32 flags__fd(u32 v)
{
	return MOVE(v, O_NONBLOCK, F_NONBLOCK) | MOVE(v, O_CLOEXEC, F_CLOEXEC);
}

/* lseek's whence; those that the format doesn't have are SEEK_SET to it. */
__inline_always u8 flags__whence(u32 v)
{
	return v <= 2 ? v : 0;
}

/* The format's number of an fcntl command, 0 for one it doesn't have. 12 to 14 are 32-bit programs' 64-bit locks. */
__inline_always u8 flags__fcntl(u32 v)
{
	switch (v) {
	case 0: /* DUPFD */
	case 1: /* GETFD */
	case 2: /* SETFD */
	case 3: /* GETFL */
	case 4: /* SETFL */
	case 5: /* GETLK */
		return v + 1;
	case 6: /* SETLK */
		return 8;
	case 7: /* SETLKW */
		return 9;
	case 8: /* SETOWN */
		return 10;
	case 9: /* GETOWN */
		return 12;
	case 10: /* SETSIG */
		return 13;
	case 11: /* GETSIG */
		return 15;
	case 12: /* GETLK64 */
	case 13: /* SETLK64 */
	case 14: /* SETLKW64 */
		return v - 12 + 17;
	case 15: /* SETOWN_EX */
	case 16: /* GETOWN_EX */
		return v - 15 + 21;
	case 36: /* OFD_GETLK */
	case 37: /* OFD_SETLK */
	case 38: /* OFD_SETLKW */
		return v - 36 + 30;
	case 1024: /* SETLEASE */
	case 1025: /* GETLEASE */
		return v - 1024 + 23;
	case 1029: /* CANCELLK */
	case 1030: /* DUPFD_CLOEXEC */
		return v - 1029 + 25;
	case 1026: /* NOTIFY */
		return 27;
	case 1031: /* SETPIPE_SZ */
	case 1032: /* GETPIPE_SZ */
		return v - 1031 + 28;
	}
	return 0;
}

/* What came of an fd that was polled. */
__inline_always u16 flags__poll(u32 v)
{
	return (v & 7) /* POLLIN, POLLPRI, POLLOUT */ | MOVE(v, 0x2000, 0x08) /* RDHUP */ | MOVE(v, 0x0008, 0x10) /* ERR */ |
	       MOVE(v, 0x0010, 0x20) /* HUP */ | MOVE(v, 0x0020, 0x40) /* NVAL */ | MOVE(v, 0x0040, 0x80) /* RDNORM */ |
	       MOVE(v, 0x0080, 0x100) /* RDBAND */ | MOVE(v, 0x0100, 0x200) /* WRNORM */ | MOVE(v, 0x0200, 0x400) /* WRBAND */;
}

/* openat2's resolve. */
__inline_always u32 flags__resolve(u32 v)
{
	return MOVE(v, 0x01, 0x10u) /* NO_XDEV */ | MOVE(v, 0x02, 0x04u) /* NO_MAGICLINKS */ |
	       MOVE(v, 0x04, 0x08u) /* NO_SYMLINKS */ | MOVE(v, 0x08, 0x01u) /* BENEATH */ |
	       MOVE(v, 0x10, 0x02u) /* IN_ROOT */ | (v & 0x20) /* CACHED */;
}

#define CLONE_NEWPID 0x20000000u
#define CLONE_VFORK 0x00004000u
#define CLONE_VM 0x00000100u
#define CLONE_PIDFD 0x00001000u
#define CLONE_PARENT 0x00008000u
#define F_CLONE_FILES 0x1u
#define F_CLONE_FS 0x2u
#define F_CLONE_SIGHAND 0x800u
#define F_CLONE_THREAD 0x2000u
#define F_CLONE_VM 0x8000u
#define F_CLONE_CHILD_IN_PIDNS 0x20000000u

/* clone, clone3, unshare, setns. */
__inline_always u32 flags__clone(u32 v)
{
	return MOVE(v, 0x00000400u, F_CLONE_FILES) | MOVE(v, 0x00000200u, F_CLONE_FS) | MOVE(v, 0x80000000u, 0x4u) /* IO */ |
	       MOVE(v, 0x08000000u, 0x8u) /* NEWIPC */ | MOVE(v, 0x40000000u, 0x10u) /* NEWNET */ |
	       MOVE(v, 0x00020000u, 0x20u) /* NEWNS */ | MOVE(v, CLONE_NEWPID, 0x40u) | MOVE(v, 0x04000000u, 0x80u) /* NEWUTS */ |
	       MOVE(v, 0x00008000u, 0x100u) /* PARENT */ | MOVE(v, 0x00100000u, 0x200u) /* PARENT_SETTID */ |
	       MOVE(v, 0x00002000u, 0x400u) /* PTRACE */ | MOVE(v, 0x00000800u, F_CLONE_SIGHAND) |
	       MOVE(v, 0x00040000u, 0x1000u) /* SYSVSEM */ | MOVE(v, 0x00010000u, F_CLONE_THREAD) |
	       MOVE(v, 0x00800000u, 0x4000u) /* UNTRACED */ | MOVE(v, CLONE_VM, F_CLONE_VM) |
	       MOVE(v, 0x10000000u, 0x100000u) /* NEWUSER */ | MOVE(v, 0x00200000u, 0x800000u) /* CHILD_CLEARTID */ |
	       MOVE(v, 0x01000000u, 0x1000000u) /* CHILD_SETTID */ | MOVE(v, 0x00080000u, 0x2000000u) /* SETTLS */ |
	       MOVE(v, CLONE_VFORK, 0x8000000u) | MOVE(v, 0x02000000u, 0x10000000u) /* NEWCGROUP */;
}

__inline_always u32 flags__prot(u32 v)
{
	return (v & 0xf) | MOVE(v, 0x01000000, 0x10u) /* GROWSDOWN */ | MOVE(v, 0x02000000, 0x20u) /* GROWSUP */;
}

__inline_always u32 flags__mmap(u32 v)
{
	return (v & 3) /* SHARED, PRIVATE */ | MOVE(v, 0x10, 0x4u) /* FIXED */ | MOVE(v, 0x20, 0x8u) /* ANONYMOUS */ |
	       MOVE(v, 0x40, 0x10u) /* 32BIT */ | MOVE(v, 0x80, 0x1000u) /* INHERIT */ |
	       MOVE(v, 0x4000, 0x40u) /* NORESERVE */ | MOVE(v, 0x8000, 0x80u) /* POPULATE */ |
	       MOVE(v, 0x10000, 0x100u) /* NONBLOCK */ | MOVE(v, 0x100, 0x200u) /* GROWSDOWN */ |
	       MOVE(v, 0x800, 0x400u) /* DENYWRITE */ | MOVE(v, 0x1000, 0x800u) /* EXECUTABLE */ |
	       MOVE(v, 0x2000, 0x4000u) /* LOCKED */;
}

/* mknod's mode: no type at all makes a regular file. */
__inline_always u32 flags__mknod(u32 v)
{
	return v & S_IFMT ? v & (S_IFMT | 07777) : (v & 07777) | S_IFREG;
}

__inline_always u8 flags__rlimit(u32 v)
{
	return v <= 15 /* RLIMIT_RTTIME */ ? v : 0xff;
}

__inline_always u32 flags__delete_module(u32 v)
{
	return MOVE(v, O_TRUNC, 0x1u) | MOVE(v, O_NONBLOCK, 0x2u);
}

__inline_always u32 flags__semget(u32 v)
{
	return MOVE(v, 01000, 0x2000u) /* IPC_CREAT */ | MOVE(v, 02000, 0x4000u) /* IPC_EXCL */;
}

__inline_always u16 flags__semop(u32 v)
{
	return MOVE(v, 04000, 0x1u) /* IPC_NOWAIT */ | MOVE(v, 0x1000, 0x2u) /* SEM_UNDO */;
}

/* A command of semctl as the format's bit, 0 for one it doesn't have (SEM_STAT_ANY). */
__inline_always u16 flags__semctl(u32 v)
{
	switch (v) {
	case 0: /* IPC_RMID */
		return 0x4;
	case 1: /* IPC_SET */
		return 0x2;
	case 2: /* IPC_STAT */
		return 0x1;
	case 3: /* IPC_INFO */
		return 0x8;
	case 11: /* GETPID */
		return 0x100;
	case 12: /* GETVAL */
		return 0x200;
	case 13: /* GETALL */
		return 0x40;
	case 14: /* GETNCNT */
		return 0x80;
	case 15: /* GETZCNT */
		return 0x400;
	case 16: /* SETVAL */
		return 0x1000;
	case 17: /* SETALL */
		return 0x800;
	case 18: /* SEM_STAT */
		return 0x20;
	case 19: /* SEM_INFO */
		return 0x10;
	}
	return 0;
}

/* Commands of quotactl as the format's bits. */
#define F_Q_QUOTAON 0x1
#define F_Q_GETFMT 0x4
#define F_Q_GETINFO 0x8
#define F_Q_SETINFO 0x10
#define F_Q_GETQUOTA 0x20
#define F_Q_SETQUOTA 0x40
#define F_Q_SYNC 0x80
#define F_Q_XGETQUOTA 0x400
#define F_Q_XSETQLIM 0x800

__inline_always u16 flags__quotactl(u32 cmd)
{
	u32 v = cmd >> 8;
	if (v == 0x800001) /* Q_SYNC */
		return F_Q_SYNC;
	if (v >= 0x800002 && v <= 0x800008) /* Q_QUOTAON to Q_SETQUOTA */
		return 1 << (v - 0x800002);
	if (v >= 0x5801 && v <= 0x5807) /* Q_XQUOTAON to Q_XQUOTASYNC */
		return 0x100 << (v - 0x5801);
	return 0;
}

/* A quota format: QFMT_VFS_OLD, V0, V1; 1 for none of them. */
__inline_always u8 flags__quota_format(u32 v)
{
	return v == 1 ? 0x2 : v == 2 ? 0x4 : v == 4 ? 0x8 : 0x1;
}

/* fchownat: the format gives its bit 0x400 to AT_SYMLINK_NOFOLLOW. */
__inline_always u32 flags__fchownat(u32 v)
{
	return MOVE(v, 0x100, 0x400u) | (v & 0x1000) /* AT_EMPTY_PATH */;
}

/* mount: without the magic that programs of before 2.4 put in the upper half. */
__inline_always u32 flags__mount(u32 v)
{
	return (v & 0xffff0000) == 0xc0ed0000 ? v & 0xffff : v;
}

/* The format's number of a ptrace request, 0 for one it doesn't have. */
__inline_always u16 flags__ptrace(u64 v)
{
	if (v <= 9) /* TRACEME to SINGLESTEP */
		return v + 1;
	if (v >= 0x4200 && v <= 0x420b) /* SETOPTIONS to SETSIGMASK */
		return v - 0x4200 + 14;
	switch (v) {
	case 16: /* ATTACH */
		return 11;
	case 17: /* DETACH */
		return 12;
	case 24: /* SYSCALL */
		return 13;
	case 31: /* SYSEMU */
		return 36;
	case 32: /* SYSEMU_SINGLESTEP */
		return 37;
#if !defined(__TARGET_ARCH_riscv)
	case 12: /* GETREGS */
		return 26;
	case 13: /* SETREGS */
		return 27;
	case 14: /* GETFPREGS */
		return 28;
	case 15: /* SETFPREGS */
		return 29;
	case 18: /* GETFPXREGS */
		return 30;
	case 19: /* SETFPXREGS */
		return 31;
	case 21: /* OLDSETOPTIONS */
		return 32;
#endif
#if defined(__TARGET_ARCH_x86)
	case 25: /* GET_THREAD_AREA */
		return 33;
	case 26: /* SET_THREAD_AREA */
		return 34;
	case 30: /* ARCH_PRCTL */
		return 35;
	case 33: /* SINGLEBLOCK */
		return 38;
#endif
	}
	return 0;
}

#endif
