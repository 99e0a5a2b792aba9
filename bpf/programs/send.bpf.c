/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sendto, send, sendmsg, sendmmsg */

/* Both ends of a socket, this one first; missing when the call failed. to is the address the program gave. */
__inline_always void send__store_tuple(struct rec *r, s64 ret, s64 fd, u64 to, u32 len)
{
	if (ret >= 0)
		store__socktuple(r, fd, true, to, len);
	else
		store__missing(r);
}

/* What sendto and send have in common; send's a[4] and a[5] are 0. */
__inline_always void send__store(struct rec *r, s64 ret, const u64 *a)
{
	/* res: ParamErrno */
	store__s64(r, ret);
	/* data: ParamBytebuf */
	store__sent(r, (s32)a[0], a[1], a[2], ret);
	/* fd: ParamFd */
	store__s64(r, (s32)a[0]);
	/* size: ParamUint32 */
	store__u32(r, a[2]);
	/* tuple: ParamSocktuple */
	send__store_tuple(r, ret, (s32)a[0], a[4], a[5]);
}

CALL(sendto)
{
	struct rec r;
	u64 a[6];
	read__net_args(&c, a, 6);
	if (!BEGIN(&r, &c, SOCKET_SENDTO_X))
		return 0;
	send__store(&r, ret, a);
	submit__scratch(&r);
	return 0;
}

CALL(send)
{
	struct rec r;
	u64 a[6] = {};
	read__net_args(&c, a, 3);
	if (!BEGIN(&r, &c, SOCKET_SEND_X))
		return 0;
	send__store(&r, ret, a);
	submit__scratch(&r);
	return 0;
}

CALL(sendmsg)
{
	struct rec r;
	struct message m;
	u64 a[2];
	read__net_args(&c, a, 2);
	if (!BEGIN(&r, &c, SOCKET_SENDMSG_X))
		return 0;
	u64 size = (u64)forget(&r.cpu->forget[0], read__pointer_size(c.compat));
	payload__read_message(&m, a[1], size);
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* data: ParamBytebuf */
	u64 all = store__pieces(&r, (s32)a[0], m.iov, m.pieces, size, ret >= 0 ? ret : ~0ULL);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	/* size: ParamUint32 */
	store__u32(&r, all);
	/* tuple: ParamSocktuple */
	send__store_tuple(&r, ret, (s32)a[0], m.name, m.namelen);
	submit__scratch(&r);
	return 0;
}

/* From size to tuple, of one message of sendmmsg. */
__inline_always void sendmmsg__store(struct rec *r, s64 fd, u64 ptr, u64 size, u32 len)
{
	struct message m;
	payload__read_message(&m, ptr, size);
	/* size: ParamUint32; of all pieces, which stands before them */
	u32 i = r->i, at = r->at;
	store__u32(r, 0);
	/* data: ParamBytebuf */
	u64 all = store__pieces(r, fd, m.iov, m.pieces, size, len);
	struct rec back = {r->p, r->cpu, i, at};
	store__u32(&back, all);
	/* tuple: ParamSocktuple */
	store__socktuple(r, fd, true, m.name, m.namelen);
}

/* One event a message that was sent, by one run of this program each; one event when none was. */
CALL_IN_TURNS(sendmmsg)
{
	struct rec r;
	u64 a[2];
	u32 i = submit__turn(&c);
	read__net_args(&c, a, 2);
	if (!BEGIN(&r, &c, SOCKET_SENDMMSG_X)) {
		submit__lose_turns(&c, SOCKET_SENDMMSG_X, i, ret);
		return 0;
	}
	u64 size = (u64)forget(&r.cpu->forget[0], read__pointer_size(c.compat));
	u64 ptr = a[1] + 8 * size * i; /* struct mmsghdr: a message, then how many bytes of it went, padded */
	u32 len = 0;
	bpf_probe_read_user(&len, sizeof(len), (void *)(ptr + 7 * size));
	/* res: ParamErrno */
	store__s64(&r, ret > 0 ? len : ret);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	if (ret > 0) {
		sendmmsg__store(&r, (s32)a[0], ptr, size, len);
	} else {
		/* size: ParamUint32 */
		store__u32(&r, 0);
		/* data: ParamBytebuf */
		store__missing(&r);
		/* tuple: ParamSocktuple */
		store__missing(&r);
	}
	submit__take_turn(&r, &c, SOCKET_SENDMMSG_X, i, ret);
	return 0;
}
