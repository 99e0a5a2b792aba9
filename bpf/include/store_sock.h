/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * store_sock.h: socket addresses and tuples.
 *
 * Addresses stand in network order and ports in the host's. A value follows its one-byte family and so lies unaligned:
 * __builtin_memcpy makes single-byte stores of it, which every CPU takes.
 */
#ifndef SHIKRA_STORE_SOCK_H
#define SHIKRA_STORE_SOCK_H

#define UNIX_PATH_MAX 108

/* include/uapi/linux/in.h, in6.h: what the program passes. */
struct user_sockaddr_in {
	u16 family, port;
	u32 addr;
};
struct user_sockaddr_in6 {
	u16 family, port;
	u32 flow;
	struct in6_addr addr;
};

struct endpoint4 {
	u32 addr;
	u16 port; /* network order */
};
struct endpoint6 {
	struct in6_addr addr;
	u16 port;
};

/* Writes one end at p. */
__inline_always void sock__put4(u8 *p, const struct endpoint4 *e)
{
	__builtin_memcpy(p, &e->addr, 4);
	u16 port = __builtin_bswap16(e->port);
	__builtin_memcpy(p + 4, &port, 2);
}

__inline_always void sock__put6(u8 *p, const struct endpoint6 *e)
{
	__builtin_memcpy(p, &e->addr, 16);
	u16 port = __builtin_bswap16(e->port);
	__builtin_memcpy(p + 16, &port, 2);
}

/* The name of a unix socket that the program passed, at most len bytes; an abstract one goes without its leading NUL. */
__inline_always s64 sock__put_user_path(u8 *p, u64 ptr, u64 len)
{
	u8 first = 0;
	if (len > UNIX_PATH_MAX)
		len = UNIX_PATH_MAX;
	if (len == 0)
		return 0;
	bpf_probe_read_user(&first, 1, (void *)ptr);
	if (!first) {
		ptr++;
		len--;
	}
	/* The name needn't end in NUL: one byte more than it has makes room for that of the string. */
	len = (len + 1) & 127;
	opaque(len);
	s64 n = bpf_probe_read_user_str(p, len & 127, (void *)ptr);
	return n < 0 ? 0 : n;
}

/* A socket address of the program's; missing when it can't be read or is of a family the format doesn't have. */
__inline_always void store__user_sockaddr(struct rec *r, u64 ptr, u32 len)
{
	u64 at = store__place(r), n = 0;
	u8 *p = BODY(r, at);
	u16 family = 0;
	if (bpf_probe_read_user(&family, sizeof(family), (void *)ptr) && ptr)
		submit__count_missing(r);
	if (family == AF_INET && len >= sizeof(struct user_sockaddr_in)) {
		struct user_sockaddr_in a = {};
		bpf_probe_read_user(&a, sizeof(a), (void *)ptr);
		struct endpoint4 e = {a.addr, a.port};
		p[0] = AF_INET;
		sock__put4(p + 1, &e);
		n = 1 + 6;
	} else if (family == AF_INET6 && len >= sizeof(struct user_sockaddr_in6)) {
		struct user_sockaddr_in6 a = {};
		bpf_probe_read_user(&a, sizeof(a), (void *)ptr);
		struct endpoint6 e = {a.addr, a.port};
		p[0] = AF_INET6;
		sock__put6(p + 1, &e);
		n = 1 + 18;
	} else if (family == AF_UNIX && len >= sizeof(family)) {
		p[0] = AF_UNIX;
		n = 1 + sock__put_user_path(p + 1, ptr + sizeof(family), len - sizeof(family));
	}
	*(volatile u64 *)&r->cpu->at = at + n;
	store__entry(r, n ? at : 0, n);
}

/* The name of a bound unix socket, without an abstract one's leading NUL; 0 for none. */
__inline_always s64 sock__put_kernel_path(u8 *p, struct unix_sock *u)
{
	struct unix_address *a = READ(u, addr);
	u8 first = 0;
	if (!a)
		return 0;
	s64 len = READ(a, len) - (s64)sizeof(u16);
	u8 *name = (u8 *)a + bpf_core_field_offset(struct unix_address, name) + sizeof(u16);
	if (len <= 0 || len > UNIX_PATH_MAX)
		return 0;
	bpf_probe_read_kernel(&first, 1, name);
	if (!first) {
		name++;
		len--;
	}
	u64 max = (len + 1) & 127;
	opaque(max);
	s64 n = bpf_probe_read_kernel_str(p, max & 127, name);
	return n < 0 ? 0 : n;
}

/*
 * Both ends of the socket behind fd: family, source, destination; missing when fd is no socket or of another family.
 * With out, this end is the source. to is the address the program passed, taken where the kernel keeps none (a datagram
 * socket that isn't connected); 0 for none.
 */
__inline_always void store__socktuple(struct rec *r, s64 fd, bool out, u64 to, u32 tolen)
{
	u64 at = store__place(r), n = 0;
	u8 *p = BODY(r, at);
	struct sock *sk = read__sock(fd);
	u16 family = sk ? READ(sk, __sk_common.skc_family) : 0;
	if (family == AF_INET) {
		struct inet_sock *inet = (void *)sk;
		struct endpoint4 local = {READ(inet, inet_saddr), READ(inet, inet_sport)};
		struct endpoint4 remote = {READ(sk, __sk_common.skc_daddr), READ(sk, __sk_common.skc_dport)};
		struct user_sockaddr_in a = {};
		if (!remote.port && to && tolen >= sizeof(a)) {
			bpf_probe_read_user(&a, sizeof(a), (void *)to);
			remote.addr = a.addr, remote.port = a.port;
		}
		p[0] = AF_INET;
		sock__put4(p + 1, out ? &local : &remote);
		sock__put4(p + 7, out ? &remote : &local);
		n = 1 + 2 * 6;
	} else if (family == AF_INET6) {
		struct inet_sock *inet = (void *)sk;
		struct endpoint6 local = {}, remote = {};
		struct user_sockaddr_in6 a = {};
		if (bpf_core_field_exists(inet->pinet6)) { /* CONFIG_IPV6 */
			bpf_probe_read_kernel(&local.addr, sizeof(local.addr), &READ(inet, pinet6)->saddr);
			bpf_probe_read_kernel(&remote.addr, sizeof(remote.addr), &sk->__sk_common.skc_v6_daddr);
		}
		local.port = READ(inet, inet_sport);
		remote.port = READ(sk, __sk_common.skc_dport);
		if (!remote.port && to && tolen >= sizeof(a)) {
			bpf_probe_read_user(&a, sizeof(a), (void *)to);
			remote.addr = a.addr, remote.port = a.port;
		}
		p[0] = AF_INET6;
		sock__put6(p + 1, out ? &local : &remote);
		sock__put6(p + 19, out ? &remote : &local);
		n = 1 + 2 * 18;
	} else if (family == AF_UNIX) {
		/* Of unix sockets the ends are the addresses of their structs, and the name is the listening side's. */
		struct unix_sock *local = (void *)sk, *peer = (void *)READ(local, peer);
		struct cpu *c = r->cpu; /* the verifier lets no pointer be taken to bytes */
		u64 src = (u64)forget(&c->forget[0], local), dst = (u64)forget(&c->forget[1], peer);
		p[0] = AF_UNIX;
		u64 first = out ? dst : src, second = out ? src : dst;
		__builtin_memcpy(p + 1, &first, 8);
		__builtin_memcpy(p + 9, &second, 8);
		s64 len;
		if (out && !peer)
			len = to && tolen > sizeof(u16) ? sock__put_user_path(p + 17, to + sizeof(u16), tolen - sizeof(u16)) : 0;
		else
			len = sock__put_kernel_path(p + 17, out ? peer : local);
		if (len <= 0) {
			p[17] = 0; /* no name: an empty string */
			len = 1;
		}
		n = 17 + len;
	}
	*(volatile u64 *)&r->cpu->at = at + n;
	store__entry(r, n ? at : 0, n);
}

#endif
