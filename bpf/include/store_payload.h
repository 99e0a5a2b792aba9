/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * store_payload.h: what goes through an fd: up to snaplen bytes of one buffer, or of the pieces (struct iovec) of several.
 *
 * Pieces beyond PIECES_MAX aren't looked at; the record is then marked as cut and the total is that of those that were.
 */
#ifndef SHIKRA_STORE_PAYLOAD_H
#define SHIKRA_STORE_PAYLOAD_H

#define PIECES_MAX 32
#define PAYLOAD_PORTS 8

/*
 * Of which system calls the data is copied, a bit each by slot; of sockets with one of which ports at either end, none for
 * everything. The loader changes them while programs run.
 */
volatile u32 payload_of[SLOTS / 32];
volatile u16 payload_port[PAYLOAD_PORTS];

/* Ports whose data is copied as far as an event goes, from and to; 0 and 0 for none. */
const volatile u16 fullcapture[2];

/* Whether more is copied of protocols that rules look into. */
const volatile u32 dynamic_snaplen;

/* The protocols' ports, and how much of theirs is copied: the values that other sensors of the format use. */
#define PORT_DNS 53
#define PORT_MYSQL 3306
#define PORT_POSTGRES 5432
#define PORT_STATSD 8125
#define PORT_MONGODB 27017
#define SNAPLEN_DNS 512
#define SNAPLEN_MORE 2000

__inline_always u64 payload__by_port(s64 fd, u64 n)
{
	struct sock *sk = read__sock(fd);
	u16 family = sk ? READ(sk, __sk_common.skc_family) : 0, local = 0, remote = 0;
	if (family == AF_INET || family == AF_INET6) {
		local = __builtin_bswap16(READ((struct inet_sock *)sk, inet_sport));
		remote = __builtin_bswap16(READ(sk, __sk_common.skc_dport));
	}
	if (fullcapture[1] && ((local >= fullcapture[0] && local <= fullcapture[1]) || (remote >= fullcapture[0] && remote <= fullcapture[1])))
		return STRING_MAX;
	if (payload_port[0]) {
		/* A datagram socket that isn't connected may send anywhere. */
		bool found = family && !remote;
#pragma unroll
		for (int i = 0; i < PAYLOAD_PORTS; i++) {
			u16 port = payload_port[i];
			found |= port && (port == local || port == remote);
		}
		if (!found)
			return 0;
	}
	if (!dynamic_snaplen)
		return n;
	u64 more = 0;
	if (remote == PORT_DNS)
		more = SNAPLEN_DNS;
	else if (remote == PORT_STATSD || remote == PORT_MYSQL || local == PORT_MYSQL || remote == PORT_POSTGRES || local == PORT_POSTGRES ||
		 remote == PORT_MONGODB || local == PORT_MONGODB)
		more = SNAPLEN_MORE;
	return n > more ? n : more;
}

/* How many bytes of what goes through fd the event holds, at most STRING_MAX; 0 when nobody looks at them. */
__inline_always u64 payload__limit(struct rec *r, s64 fd)
{
	u64 n = snaplen;
	if (!(payload_of[r->slot / 32 & (SLOTS / 32 - 1)] >> (r->slot & 31) & 1))
		return 0;
	if (fullcapture[1] || payload_port[0] || dynamic_snaplen)
		n = payload__by_port(fd, n);
	opaque(n);
	return n > STRING_MAX ? STRING_MAX : n;
}

/* One buffer of len bytes. Missing when it can't be read, or nobody looks at it. */
__inline_always void store__payload(struct rec *r, s64 fd, u64 ptr, u64 len)
{
	u64 limit = payload__limit(r, fd);
	if (limit)
		store__user_bytes(r, ptr, len, limit);
	else
		store__missing(r);
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
 * The n pieces at iov, an array of pairs of pointers of size bytes; of them up to len bytes and payload__limit. Returns
 * how many bytes all pieces have. len is that of the transfer, all ones where it isn't known.
 */
__inline_always u64 store__pieces(struct rec *r, s64 fd, u64 iov, u64 n, u64 size, u64 len)
{
	struct cpu *c = r->cpu;
	u64 begin = store__place(r), limit = payload__limit(r, fd);
	bool asked = limit;
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
	if (asked && (took < (len < all ? len : all) || n > PIECES_MAX))
		store__mark_cut(r);
	store__entry(r, asked ? begin : 0, took);
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
