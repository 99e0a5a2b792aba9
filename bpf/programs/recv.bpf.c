/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* recvfrom, recv, recvmsg, recvmmsg */

/* Both ends of a socket, the sender first; missing when the call failed. from is where the program asked for its address. */
__inline_always void recv__store_tuple(struct rec *r, s64 ret, s64 fd, u64 from, u32 len)
{
	if (ret >= 0)
		store__socktuple(r, fd, false, from, len);
	else
		store__missing(r);
}

CALL(recvfrom)
{
	struct rec r;
	u64 a[6];
	u32 len = 0;
	read__net_args(&c, a, 6);
	bpf_probe_read_user(&len, sizeof(len), (void *)a[5]);
	if (!BEGIN(&r, &c, SOCKET_RECVFROM_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* data: ParamBytebuf */
	store__received(&r, (s32)a[0], a[1], ret);
	/* tuple: ParamSocktuple */
	recv__store_tuple(&r, ret, (s32)a[0], a[4], len);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	/* size: ParamUint32 */
	store__u32(&r, a[2]);
	submit__scratch(&r);
	return 0;
}

CALL(recv)
{
	struct rec r;
	u64 a[3];
	read__net_args(&c, a, 3);
	if (!BEGIN(&r, &c, SOCKET_RECV_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* data: ParamBytebuf */
	store__received(&r, (s32)a[0], a[1], ret);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	/* size: ParamUint32 */
	store__u32(&r, a[2]);
	/* tuple: ParamSocktuple */
	recv__store_tuple(&r, ret, (s32)a[0], 0, 0);
	submit__scratch(&r);
	return 0;
}

/* From size to msgcontrol, of recvmsg and of one message of recvmmsg: ret bytes came. */
__inline_always void recv__store_message(struct rec *r, s64 ret, s64 fd, u64 ptr, u64 size)
{
	struct message m;
	payload__read_message(&m, ptr, size);
	/* size: ParamUint32 */
	store__u32(r, ret);
	/* data: ParamBytebuf */
	store__pieces(r, fd, m.iov, m.pieces, size, ret);
	/* tuple: ParamSocktuple */
	store__socktuple(r, fd, false, m.name, m.namelen);
	/* msgcontrol: ParamBytebuf */
	store__control(r, &m);
}

/* The same when none came. */
__inline_always void recv__store_no_message(struct rec *r)
{
	/* size: ParamUint32 */
	store__u32(r, 0);
	/* data: ParamBytebuf */
	store__missing(r);
	/* tuple: ParamSocktuple */
	store__missing(r);
	/* msgcontrol: ParamBytebuf */
	store__missing(r);
}

#define MSG_CMSG_CLOEXEC 0x40000000 /* include/linux/socket.h */

/* Whether control messages came, which fds do by: msg_controllen is the sixth word of struct msghdr (include/linux/socket.h). */
__inline_always bool recv__has_control(struct call *c, u64 ptr)
{
	u64 len = 0;
	if (c->compat)
		bpf_probe_read_user(&len, 4, (void *)(ptr + 5 * 4));
	else
		bpf_probe_read_user(&len, sizeof(long), (void *)(ptr + 5 * sizeof(long)));
	return len;
}

CALL(recvmsg)
{
	struct rec r;
	u64 a[3];
	read__net_args(&c, a, 3);
	bool control = ret >= 0 && recv__has_control(&c, a[1]);
	if (in_part & PART_RECVMSG && !control)
		return 0;
	if (control)
		marks__all(read__tgid(c.task));
	if (!BEGIN(&r, &c, SOCKET_RECVMSG_X))
		return 0;
	submit__mark_cloexec(&r, a[2] & MSG_CMSG_CLOEXEC);
	u64 size = (u64)forget(&r.cpu->forget[0], read__pointer_size(c.compat));
	/* res: ParamErrno */
	store__s64(&r, ret);
	if (ret >= 0)
		recv__store_message(&r, ret, (s32)a[0], a[1], size);
	else
		recv__store_no_message(&r);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	submit__scratch(&r);
	return 0;
}

/* One event a message that came, by one run of this program each; one event when none did. */
CALL_IN_TURNS(recvmmsg)
{
	struct rec r;
	u64 a[4];
	u32 i = submit__turn(&c);
	read__net_args(&c, a, 4);
	if (!BEGIN(&r, &c, SOCKET_RECVMMSG_X)) {
		submit__lose_turns(&c, SOCKET_RECVMMSG_X, i, ret);
		return 0;
	}
	submit__mark_cloexec(&r, a[3] & MSG_CMSG_CLOEXEC);
	u64 size = (u64)forget(&r.cpu->forget[0], read__pointer_size(c.compat));
	u64 ptr = a[1] + 8 * size * i; /* struct mmsghdr: a message, then how many bytes of it came, padded */
	u32 len = 0;
	bpf_probe_read_user(&len, sizeof(len), (void *)(ptr + 7 * size));
	/* res: ParamErrno */
	store__s64(&r, ret > 0 ? len : ret);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	if (ret > 0)
		recv__store_message(&r, len, (s32)a[0], ptr, size);
	else
		recv__store_no_message(&r);
	submit__take_turn(&r, &c, SOCKET_RECVMMSG_X, i, ret);
	return 0;
}
