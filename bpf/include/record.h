/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * record.h: the form of one event in the ring buffer. sensor/internal/event/record.go states the same for Go, and a test
 * compares the two.
 *
 *	 0 u64 ts       ns, boot time
 *	 8 u32 len      bytes of the record, this header included
 *	12 u16 type     event type
 *	14 u16 nparams  entries of the directory
 *	16 s64 tid
 *	24 u16 cpu
 *	26 u16 origin   ORIGIN_ bits
 *	28 u32 nr       the system call's native number, NO_NR for none
 *	32 body: nparams × (u16 offset, u16 length), then the values; offsets count from the body's start, 0 is missing.
 *
 * The probe puts the values of fixed size first, at offsets known when it is compiled and naturally aligned, as CPUs
 * without unaligned access demand; strings follow in the order they are read.
 */
#ifndef SHIKRA_RECORD_H
#define SHIKRA_RECORD_H

#define RECORD_TS 0
#define RECORD_LEN 8
#define RECORD_TYPE 12
#define RECORD_NPARAMS 14
#define RECORD_TID 16
#define RECORD_CPU 24
#define RECORD_ORIGIN 26
#define RECORD_NR 28
#define RECORD_HEADER 32
#define RECORD_PARAM 4 /* bytes of a directory entry */

#define NO_NR 0xFFFFFFFF

#define ORIGIN_COMPAT 1 /* a 32-bit call on a 64-bit kernel */
#define ORIGIN_CUT 2    /* at least one parameter is shorter than what the program gave */
#define ORIGIN_EXACT 8  /* the paths are the kernel's own copies */
#define ORIGIN_CHANGED 16 /* and one of them isn't what the program's memory held when the call ended */
#define ORIGIN_URING 32 /* an operation of an io_uring, in the place of the call */
#define ORIGIN_OPENED 128 /* dev and ino are those of the file that the kernel opened */
#define ORIGIN_OTHER 256 /* and the fd stood for another file when the call ended */
#define ORIGIN_REUSED 512 /* a close whose fd may stand for a file still, or again, when the call ended */
#define ORIGIN_CLOEXEC 1024 /* exec closes the fds that the call made, of which its parameters don't say so */
#define ORIGIN_REACHES 2048 /* what was mounted may lie where the sensor sees it */

/* Most bytes of one string, of all arguments, of the environment, of all cgroups. */
#define STRING_MAX 4096

/* Bytes of a body beyond which nothing is begun: seven strings of the largest size, and all that is of fixed size. */
#define BODY_MAX 32768

#endif
