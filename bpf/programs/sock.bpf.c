/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* socket, socketpair, connect, bind, listen, accept, accept4, shutdown, getsockname, getpeername. ia32 may make them through socketcall(2), hence read__net_args. */

CALL(socket)
{
	struct rec r;
	u64 a[3];
	read__net_args(&c, a, 3);
	if (!RESERVE(&r, &c, SOCKET_SOCKET_X))
		return 0;
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* domain: ParamEnumflags32; the format's families are the kernel's */
	store__u32(&r, a[0]);
	/* type: ParamUint32 */
	store__u32(&r, a[1]);
	/* proto: ParamUint32 */
	store__u32(&r, a[2]);
	/* flags: ParamFlags32 */
	store__u32(&r, flags__fd(a[1]));
	submit__reserved(&r);
	return 0;
}

CALL(connect)
{
	struct rec r;
	u64 a[3];
	read__net_args(&c, a, 3);
	if (!BEGIN(&r, &c, SOCKET_CONNECT_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* tuple: ParamSocktuple; one that was interrupted goes on, too */
	if (ret == 0 || ret == -EINPROGRESS || ret == -EINTR || ret == -ERESTARTSYS)
		store__socktuple(&r, (s32)a[0], true, a[1], a[2]);
	else
		store__missing(&r);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	/* addr: ParamSockaddr */
	store__user_sockaddr(&r, a[1], a[2]);
	submit__scratch(&r);
	return 0;
}

/* The port that the kernel chose for a socket, as the program asked for by port 0; 0 for none. */
__inline_always u16 bind__chosen(s64 fd, u64 addr)
{
	u16 asked = 1; /* sin_port, sin6_port */
	bpf_probe_read_user(&asked, sizeof(asked), (void *)(addr + 2));
	struct sock *sk = asked ? NULL : read__sock(fd);
	if (!sk)
		return 0;
	u16 family = READ(sk, __sk_common.skc_family), type = READ(sk, sk_type);
	if ((family != AF_INET && family != AF_INET6) || (type != SOCK_STREAM && type != SOCK_DGRAM))
		return 0;
	return __builtin_bswap16(READ((struct inet_sock *)sk, inet_sport));
}

CALL(bind)
{
	struct rec r;
	u64 a[3];
	read__net_args(&c, a, 3);
	u16 port = ret < 0 ? 0 : bind__chosen((s32)a[0], a[1]);
	if (!BEGIN(&r, &c, SOCKET_BIND_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* addr: ParamSockaddr */
	store__user_sockaddr(&r, a[1], a[2]);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	/* port: ParamPort; there when the kernel chose it */
	if (port)
		store__u16(&r, port);
	else
		*(volatile u16 *)(r.p + RECORD_NPARAMS) = SOCKET_BIND_X_N - 1;
	submit__scratch(&r);
	return 0;
}

CALL(listen)
{
	struct rec r;
	u64 a[2];
	read__net_args(&c, a, 2);
	if (!RESERVE(&r, &c, SOCKET_LISTEN_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	/* backlog: ParamInt32 */
	store__s32(&r, a[1]);
	submit__reserved(&r);
	return 0;
}

/* What accept and accept4 have in common: fd is the listening socket. */
__inline_always void accept__store(struct rec *r, s64 ret, s64 fd)
{
	u32 len = 0, max = 0;
	struct sock *sk = ret < 0 ? NULL : read__sock(fd);
	if (sk) {
		len = READ(sk, sk_ack_backlog);
		max = READ(sk, sk_max_ack_backlog);
	}
	/* fd: ParamFd */
	store__s64(r, ret);
	/* tuple: ParamSocktuple */
	if (ret >= 0)
		store__socktuple(r, ret, false, 0, 0);
	else
		store__missing(r);
	/* queuepct: ParamUint8 */
	store__u8(r, max ? (u64)len * 100 / max : 0);
	/* queuelen: ParamUint32 */
	store__u32(r, len);
	/* queuemax: ParamUint32 */
	store__u32(r, max);
}

CALL(accept)
{
	struct rec r;
	u64 a[1];
	read__net_args(&c, a, 1);
	if (!BEGIN(&r, &c, SOCKET_ACCEPT_5_X))
		return 0;
	accept__store(&r, ret, (s32)a[0]);
	submit__scratch(&r);
	return 0;
}

CALL(accept4)
{
	struct rec r;
	u64 a[4];
	read__net_args(&c, a, 4);
	if (!BEGIN(&r, &c, SOCKET_ACCEPT4_6_X))
		return 0;
	accept__store(&r, ret, (s32)a[0]);
	/* flags: ParamInt32 */
	store__s32(&r, flags__fd(a[3]));
	submit__scratch(&r);
	return 0;
}

CALL(socketpair)
{
	struct rec r;
	u64 a[4], ends[2] = {};
	s32 fds[2] = {-1, -1};
	read__net_args(&c, a, 4);
	if (ret == 0) {
		if (bpf_probe_read_user(fds, sizeof(fds), (void *)a[3]))
			fds[0] = fds[1] = -1;
		struct unix_sock *sk = (void *)read__sock(fds[0]);
		if (sk) {
			ends[0] = (u64)forget(&c.cpu->forget[0], sk);
			ends[1] = (u64)forget(&c.cpu->forget[1], READ(sk, peer));
		}
	}
	if (!RESERVE(&r, &c, SOCKET_SOCKETPAIR_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd1: ParamFd; -1 for none */
	store__s64(&r, fds[0]);
	/* fd2: ParamFd */
	store__s64(&r, fds[1]);
	/* source: ParamUint64; the addresses of the two ends' structs */
	store__u64(&r, ends[0]);
	/* peer: ParamUint64 */
	store__u64(&r, ends[1]);
	/* domain: ParamEnumflags32 */
	store__u32(&r, a[0]);
	/* type: ParamUint32 */
	store__u32(&r, a[1]);
	/* proto: ParamUint32 */
	store__u32(&r, a[2]);
	submit__reserved(&r);
	return 0;
}

CALL(shutdown)
{
	struct rec r;
	u64 a[2];
	read__net_args(&c, a, 2);
	if (!RESERVE(&r, &c, SOCKET_SHUTDOWN_X))
		return 0;
	/* res: ParamErrno */
	store__s64(&r, ret);
	/* fd: ParamFd */
	store__s64(&r, (s32)a[0]);
	/* how: ParamEnumflags8; the format's numbers are the kernel's, all ones for one that isn't known */
	store__u8(&r, (u32)a[1] <= 2 ? a[1] : 0xff);
	submit__reserved(&r);
	return 0;
}

/* These two events have no parameters. */
CALL(getsockname)
{
	struct rec r;
	if (!RESERVE(&r, &c, SOCKET_GETSOCKNAME_X))
		return 0;
	submit__reserved(&r);
	return 0;
}

CALL(getpeername)
{
	struct rec r;
	if (!RESERVE(&r, &c, SOCKET_GETPEERNAME_X))
		return 0;
	submit__reserved(&r);
	return 0;
}
