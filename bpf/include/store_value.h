/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* store_value.h: parameters of fixed size, into any record. */
#ifndef SHIKRA_STORE_VALUE_H
#define SHIKRA_STORE_VALUE_H

/* Writes the next directory entry. Offset 0 says missing. */
__inline_always void store__entry(struct rec *r, u64 off, u64 len)
{
	*(u32 *)(r->p + RECORD_HEADER + RECORD_PARAM * r->i) = off | len << 16;
	r->i++;
}

#define STORE_VALUE(name, T)                                                                                           \
	__inline_always void store__##name(struct rec *r, T v)                                                         \
	{                                                                                                              \
		r->at = (r->at + sizeof(T) - 1) & ~(u32)(sizeof(T) - 1);                                               \
		*(T *)(r->p + RECORD_HEADER + r->at) = v;                                                              \
		store__entry(r, r->at, sizeof(T));                                                                     \
		r->at += sizeof(T);                                                                                    \
	}
STORE_VALUE(u8, u8)
STORE_VALUE(u16, u16)
STORE_VALUE(u32, u32)
STORE_VALUE(u64, u64)
STORE_VALUE(s32, s32)
STORE_VALUE(s64, s64)

/* Leaves out a parameter that has no fixed size. */
__inline_always void store__missing(struct rec *r)
{
	store__entry(r, 0, 0);
}

#endif
