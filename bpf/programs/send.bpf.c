/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sendto, sendmsg */

#define IOV_MAX 16 /* pieces of a message that are looked at */

CALL(sendto)
{
	struct rec r;
	u64 a[6];
	read__net_args(&c, a, 6);
	if (!BEGIN(&r, &c, SOCKET_SENDTO_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* data: ParamBytebuf; what was sent, or would have been */
	store__user_bytes(&r, a[1], ret >= 0 ? ret : a[2], snaplen);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	/* size: ParamUint32 */
	store__u32(&r, a[2]);
	/* tuple: ParamSocktuple */
	if (ret >= 0)
		store__socktuple(&r, (s32)a[0], true, a[4], a[5]);
	else
		store__missing(&r);
	submit__scratch(&r);
	return 0;
}

/* struct user_msghdr, of either pointer size. */
struct message {
	u64 name, iov, pieces;
	u32 namelen;
};

__inline_always void send__read_message(struct message *m, u64 ptr, u64 size)
{
	*m = (struct message){};
	m->name = read__user_pointer(ptr, 0, size);
	bpf_probe_read_user(&m->namelen, sizeof(m->namelen), (void *)(ptr + size)); /* an int, padded to a pointer */
	m->iov = read__user_pointer(ptr, 2, size);
	m->pieces = read__user_pointer(ptr, 3, size);
}

/* Stores up to limit bytes of the message's pieces, and returns how many it has in all. */
__inline_always u64 send__store_pieces(struct rec *r, const struct message *m, u64 size, u64 limit)
{
	struct cpu *c = r->cpu;
	u64 begin = store__place(r);
	*(volatile u64 *)&c->forget[0] = 0; /* bytes in all */
	*(volatile u64 *)&c->forget[1] = limit;
	for (u32 i = 0; i < IOV_MAX; i++) {
		if (i >= m->pieces)
			break;
		u64 base = read__user_pointer(m->iov, 2 * i, size), len = read__user_pointer(m->iov, 2 * i + 1, size);
		u64 at = store__place(r), room = *(volatile u64 *)&c->forget[1];
		*(volatile u64 *)&c->forget[0] += len;
		if (len > room)
			len = room;
		opaque(len);
		if (len > STRING_MAX)
			len = STRING_MAX;
		if (bpf_probe_read_user(BODY(r, at), len, (void *)base))
			break;
		*(volatile u64 *)&c->forget[1] = room - len;
		*(volatile u64 *)&c->at = at + len;
	}
	u64 all = *(volatile u64 *)&c->forget[0], took = *(volatile u64 *)&c->at - begin;
	if (took < all)
		store__mark_cut(r);
	store__entry(r, begin, took);
	return all;
}

CALL(sendmsg)
{
	struct rec r;
	struct message m;
	u64 a[2];
	read__net_args(&c, a, 2);
	if (!BEGIN(&r, &c, SOCKET_SENDMSG_X))
		return 0;
	u64 size = (u64)forget(&r.cpu->forget[0], read__pointer_size(c.compat)), limit = snaplen;
	send__read_message(&m, a[1], size);
	if (ret >= 0 && ret < limit)
		limit = ret;
	if (limit > STRING_MAX)
		limit = STRING_MAX;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* data: ParamBytebuf */
	u64 all = send__store_pieces(&r, &m, size, limit);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	/* size: ParamUint32 */
	store__u32(&r, all);
	/* tuple: ParamSocktuple */
	if (ret >= 0)
		store__socktuple(&r, (s32)a[0], true, m.name, m.namelen);
	else
		store__missing(&r);
	submit__scratch(&r);
	return 0;
}
