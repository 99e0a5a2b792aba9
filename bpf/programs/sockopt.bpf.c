/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* setsockopt, getsockopt */

/* include/uapi/asm-generic/socket.h */
#define SOL_SOCKET 1
#define SOL_TCP 6
#define SO_ERROR 4
#define SO_LINGER 13
#define SO_PEERCRED 17
#define SO_RCVTIMEO 20
#define SO_SNDTIMEO 21
#define SO_ATTACH_FILTER 26
#define SO_PEERNAME 28
#define SO_INCOMING_CPU 49
#define SO_ATTACH_BPF 50
#define SO_MEMINFO 55
#define SO_COOKIE 57
#define SO_PEERGROUPS 59
#define SO_RCVTIMEO_NEW 66
#define SO_SNDTIMEO_NEW 67

/* What a value is: the first byte of a ParamDyn. */
enum { SOCKOPT_BYTES, SOCKOPT_ERRNO, SOCKOPT_U32, SOCKOPT_U64, SOCKOPT_TIME };

__inline_always u8 sockopt__level(u32 level)
{
	return level == SOL_SOCKET ? 1 : level == SOL_TCP ? 2 : 0;
}

/* The format's number of an option: the kernel's up to SO_ATTACH_BPF; 0 for one that it doesn't have. */
__inline_always u8 sockopt__name(u32 level, u32 name)
{
	if (level != SOL_SOCKET)
		return 0;
	switch (name) {
	case SO_MEMINFO:
		return 0x34;
	case SO_COOKIE:
		return 0x35;
	case SO_PEERGROUPS:
		return 0x33;
	case SO_RCVTIMEO_NEW:
		return SO_RCVTIMEO;
	case SO_SNDTIMEO_NEW:
		return SO_SNDTIMEO;
	}
	return name <= SO_ATTACH_BPF ? name : 0;
}

__inline_always u8 sockopt__kind(u32 level, u32 name)
{
	if (level != SOL_SOCKET || name == 0)
		return SOCKOPT_BYTES;
	switch (name) {
	case SO_ERROR:
		return SOCKOPT_ERRNO;
	case SO_RCVTIMEO:
	case SO_SNDTIMEO:
	case SO_RCVTIMEO_NEW:
	case SO_SNDTIMEO_NEW:
		return SOCKOPT_TIME;
	case SO_COOKIE:
		return SOCKOPT_U64;
	case SO_LINGER:
	case SO_PEERCRED:
	case SO_ATTACH_FILTER:
	case SO_PEERNAME:
		return SOCKOPT_BYTES;
	}
	return name <= SO_INCOMING_CPU ? SOCKOPT_U32 : SOCKOPT_BYTES;
}

/* The value of an option, len bytes at ptr: what it is, and then itself. Bytes that can't be read are none, numbers 0. */
__inline_always void sockopt__store_value(struct rec *r, u32 compat, u32 level, u32 name, u64 ptr, u32 len)
{
	u64 at = store__place(r), n = 1, v = 0;
	u8 *p = BODY(r, at), kind = sockopt__kind(level, name);
	u32 v32 = 0;
	p[0] = kind;
	if (kind == SOCKOPT_BYTES) {
		u64 bytes = len;
		if (bytes > STRING_MAX - 1) {
			store__mark_cut(r);
			bytes = STRING_MAX - 1;
		}
		opaque(bytes);
		if (bytes < STRING_MAX && !bpf_probe_read_user(p + 1, bytes, (void *)ptr))
			n += bytes;
		else
			submit__count_missing(r);
	} else if (kind == SOCKOPT_U32) {
		bpf_probe_read_user(&v32, sizeof(v32), (void *)ptr);
		__builtin_memcpy(p + 1, &v32, sizeof(v32));
		n += sizeof(v32);
	} else {
		if (kind == SOCKOPT_ERRNO) {
			bpf_probe_read_user(&v32, sizeof(v32), (void *)ptr);
			v = -(s64)(s32)v32;
		} else if (kind == SOCKOPT_U64) {
			bpf_probe_read_user(&v, sizeof(v), (void *)ptr);
		} else { /* struct timeval; the newer options have eight bytes for each half in 32-bit programs too */
			u64 size = name >= SO_RCVTIMEO_NEW ? 8 : read__pointer_size(compat);
			v = read__user_pointer(ptr, 0, size) * 1000000000 + read__user_pointer(ptr, 1, size) * 1000;
		}
		__builtin_memcpy(p + 1, &v, sizeof(v));
		n += sizeof(v);
	}
	store__took(r, at, n);
}

/* len is that of the value. */
__inline_always void sockopt__store(struct rec *r, const struct call *c, s64 ret, const u64 *a, u32 len)
{
	/* res: ParamErrno */
	store__s64(r, ret);
	/* fd: ParamFd */
	store__s64(r, (s32)a[0]);
	/* level: ParamEnumflags8 */
	store__u8(r, sockopt__level(a[1]));
	/* optname: ParamEnumflags8 */
	store__u8(r, sockopt__name(a[1], a[2]));
	/* val: ParamDyn */
	sockopt__store_value(r, c->compat, a[1], a[2], a[3], len);
	/* optlen: ParamUint32 */
	store__u32(r, len);
}

CALL(setsockopt)
{
	struct rec r;
	u64 a[5];
	read__net_args(&c, a, 5);
	if (!BEGIN(&r, &c, SOCKET_SETSOCKOPT_X))
		return 0;
	sockopt__store(&r, &c, ret, a, a[4]);
	submit__scratch(&r);
	return 0;
}

CALL(getsockopt)
{
	struct rec r;
	u64 a[5];
	u32 len = 0;
	read__net_args(&c, a, 5);
	if (in_part & PART_GETSOCKOPT) { /* only that a connection has failed */
		u32 error = 0;
		if (ret == 0 && (u32)a[1] == SOL_SOCKET && (u32)a[2] == SO_ERROR)
			bpf_probe_read_user(&error, sizeof(error), (void *)a[3]);
		if (!error)
			return 0;
	}
	bpf_probe_read_user(&len, sizeof(len), (void *)a[4]); /* the kernel has put there how much it gave */
	if (!BEGIN(&r, &c, SOCKET_GETSOCKOPT_X))
		return 0;
	sockopt__store(&r, &c, ret, a, len);
	submit__scratch(&r);
	return 0;
}
