/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * store_payload.h: what goes through an fd: up to snaplen bytes of one buffer, or of the pieces (struct iovec) of several.
 *
 * Pieces beyond PIECES_MAX aren't looked at; the record is then marked as cut and the total is that of those that were.
 */
#ifndef SHIKRA_STORE_PAYLOAD_H
#define SHIKRA_STORE_PAYLOAD_H

#define PIECES_MAX 32

/* How many bytes of what goes through fd an event holds, at most STRING_MAX. */
__inline_always u64 payload__limit(s64 fd)
{
	u64 n = snaplen;
	return n > STRING_MAX ? STRING_MAX : n;
}

/* One buffer of len bytes. Missing when it can't be read. */
__inline_always void store__payload(struct rec *r, s64 fd, u64 ptr, u64 len)
{
	store__user_bytes(r, ptr, len, payload__limit(fd));
}

/* What was written, or would have been: the buffer as far as the result says, all of it when the call failed. */
__inline_always void store__sent(struct rec *r, s64 fd, u64 ptr, u64 len, s64 ret)
{
	store__payload(r, fd, ptr, ret >= 0 ? ret : len);
}

/* What was read: as much as the result says, missing when the call failed. */
__inline_always void store__received(struct rec *r, s64 fd, u64 ptr, s64 ret)
{
	if (ret >= 0)
		store__payload(r, fd, ptr, ret);
	else
		store__missing(r);
}

/*
 * The n pieces at iov, an array of pairs of pointers of size bytes; of them up to len bytes and payload__limit(fd). Returns
 * how many bytes all pieces have. len is that of the transfer, all ones where it isn't known.
 */
__inline_always u64 store__pieces(struct rec *r, s64 fd, u64 iov, u64 n, u64 size, u64 len)
{
	struct cpu *c = r->cpu;
	u64 begin = store__place(r), limit = payload__limit(fd);
	if (limit > len)
		limit = len;
	*(volatile u64 *)&c->forget[0] = 0;     /* bytes in all */
	*(volatile u64 *)&c->forget[1] = limit; /* bytes that may still be taken */
	for (u32 i = 0; i < PIECES_MAX; i++) {
		if (i >= n)
			break;
		u64 base = read__user_pointer(iov, 2 * i, size), bytes = read__user_pointer(iov, 2 * i + 1, size);
		u64 at = store__place(r), room = *(volatile u64 *)&c->forget[1];
		*(volatile u64 *)&c->forget[0] += bytes;
		if (bytes > room)
			bytes = room;
		opaque(bytes);
		if (bytes > STRING_MAX)
			bytes = STRING_MAX;
		if (bpf_probe_read_user(BODY(r, at), bytes, (void *)base)) {
			room = bytes = 0; /* what comes after it wouldn't follow on what was taken */
		}
		*(volatile u64 *)&c->forget[1] = room - bytes;
		*(volatile u64 *)&c->at = at + bytes;
	}
	u64 all = *(volatile u64 *)&c->forget[0], took = *(volatile u64 *)&c->at - begin;
	if (took < (len < all ? len : all) || n > PIECES_MAX)
		store__mark_cut(r);
	store__entry(r, begin, took);
	return all;
}

/* struct user_msghdr, of either pointer size. */
struct message {
	u64 name, iov, pieces, control, controllen;
	u32 namelen;
};

__inline_always void payload__read_message(struct message *m, u64 ptr, u64 size)
{
	*m = (struct message){};
	m->name = read__user_pointer(ptr, 0, size);
	bpf_probe_read_user(&m->namelen, sizeof(m->namelen), (void *)(ptr + size)); /* an int, padded to a pointer */
	m->iov = read__user_pointer(ptr, 2, size);
	m->pieces = read__user_pointer(ptr, 3, size);
	m->control = read__user_pointer(ptr, 4, size);
	m->controllen = read__user_pointer(ptr, 5, size);
}

/* A message's control data (fds, credentials), up to STRING_MAX bytes; missing when there is none. */
__inline_always void store__control(struct rec *r, const struct message *m)
{
	if (m->control && m->controllen)
		store__user_bytes(r, m->control, m->controllen, STRING_MAX);
	else
		store__missing(r);
}

#endif
