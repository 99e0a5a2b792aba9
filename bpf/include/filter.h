/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * filter.h: whether anybody can use the event of a call that ends, judged before the event is made. sensor/internal/probe
 * writes the filters, and sensor/internal/filter does the same in Go.
 *
 * A filter is a set of alternatives, a bit each: ways in which some module could use the event. Each part of the call takes
 * away those that it doesn't fit; when none is left the event isn't made. In doubt they all stay.
 */
#ifndef SHIKRA_FILTER_H
#define SHIKRA_FILTER_H

#define FILTERS 32          /* filters; the first lets everything pass */
#define FILTER_TABLES 4     /* tables of paths */
#define FILTER_PATHS 64     /* paths of a table */
#define FILTER_BUCKETS 32   /* of a table, by the first letter of a path modulo this */
#define FILTER_WORDS 4      /* words of 8 bytes by which paths are compared */
#define FILTER_PORTS 8
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define FDS 128             /* fds of a process that are told apart; those above share the last place */

/* What a path begins with: those bytes that the mask has, the NUL at its end among them when it has to end there. */
struct filter_path {
	u64 word[FILTER_WORDS], mask[FILTER_WORDS];
	u32 ways, pad;
};

/* The paths of bucket b are those from from[b] on, up to from[b + 1]. */
struct filter_table {
	u8 from[FILTER_BUCKETS + 8];
	struct filter_path path[FILTER_PATHS];
};

/* What a filter does beside. */
#define FILTER_OPENS 1    /* an open that nobody can use is made all the same when it opened a directory */
#define FILTER_MARKS 2    /* the result is an fd that state knows from now on */
#define FILTER_PAIR 4     /* the call fills an array of two such fds, argument fd_arg */
#define FILTER_FCNTL 8    /* the result is such an fd when the call duplicated one */
#define FILTER_CLOSE 16   /* closes of fds that state doesn't know aren't made */
#define FILTER_UNSHARE 32 /* by its flags, argument fd_arg, fds of one process may be those of one thread from now on */

/* What hardly any call comes to is laid out behind the rest, so that the rest takes few lines of the instruction cache. */
#define unlikely(x) __builtin_expect(!!(x), 0)

#define EACH_BYTE 0x0101010101010101ULL

#define FILTER_NONE 0xFF /* no such argument */

struct filter {
	u32 success, failure; /* ways that take such a result */
	u32 open[4];          /* ways that take any open; one for reading, for writing, one that may make the file */
	u32 no_path, no_port; /* ways that take any path, any socket */
	u16 port[FILTER_PORTS];
	u32 port_ways[FILTER_PORTS];
	u8 path_arg, flags_arg, fd_arg, table;
	u32 what; /* FILTER_ bits */
};

/* The loader writes them only while filter_on isn't set. */
struct filters {
	u8 of[SLOTS]; /* the filter of a system call */
	struct filter f[FILTERS];
	struct filter_table t[FILTER_TABLES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct filters);
} filters SEC(".maps");

/* Whether events are judged. The loader changes it while programs run. */
volatile u32 filter_on;

/* Set when processes share fds in ways that marks don't follow: closes are made whatever the marks say. */
volatile u32 marks_off;

/*
 * Which fds of a process state may know: four of them in a word, a byte each in its lower half, and in its upper half the
 * process. A process whose words are another's has them all, so that one for which there is no room only costs events. Bytes
 * and not bits, since threads of one process write them at the same time.
 *
 * A process's place is that of its number's lowest bits, in an array, where looking takes no call. Each word says whose it
 * is, so that one that is being written by another CPU is either taken for what it was or for what it becomes.
 */
struct fd_marks {
	u64 word[FDS / 4];
};

#define MARKS 2048
#define MARKED_ALL 0x01010101ULL /* four fds that state may know */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MARKS);
	__type(key, u32);
	__type(value, struct fd_marks);
} marks SEC(".maps");

/*
 * Whose the places in marks are. Nothing takes one away while its process lives: it would be another's while a program still
 * writes to it. What nobody has is zero.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MARKS);
	__type(key, u32);
	__type(value, u32);
} marked SEC(".maps");

/* The compiler knows the bounds and would leave the mask out that verifiers before 5.12 need. */
__inline_always u64 marks__place(s64 fd)
{
	u64 i = (u64)fd < FDS - 1 ? fd : FDS - 1;
	opaque(i);
	return i & (FDS - 1);
}

/* The place in marks where the process's would be. */
__inline_always struct fd_marks *marks__of(u32 tgid)
{
	u32 i = tgid & (MARKS - 1);
	return bpf_map_lookup_elem(&marks, &i);
}

/* Takes the place in marks for the process. False when another has it. */
__inline_always bool marks__claim(u32 tgid)
{
	u32 i = tgid & (MARKS - 1);
	return !bpf_map_update_elem(&marked, &i, &tgid, BPF_NOEXIST);
}

/* The process has no marks any more. */
__inline_always void marks__forget(u32 tgid)
{
	u32 i = tgid & (MARKS - 1);
	u32 *who = bpf_map_lookup_elem(&marked, &i);
	struct fd_marks *m = marks__of(tgid);
	if (!who || *who != tgid || !m)
		return;
#pragma unroll
	for (int k = 0; k < FDS / 4; k++)
		*(volatile u64 *)&m->word[k] = 0;
	bpf_map_delete_elem(&marked, &i);
}

/*
 * The word of the fd at place i, and its byte in it. 5.10's verifier has forgotten the bounds of what was kept on the stack
 * meanwhile, so that the mask comes last.
 */
__inline_always volatile u64 *marks__word(struct fd_marks *m, u64 i)
{
	i *= sizeof(u64) / 4;
	opaque(i);
	return (volatile u64 *)((u8 *)m + (i & (sizeof(*m) - sizeof(u64))));
}

__inline_always volatile u8 *marks__byte(struct fd_marks *m, u64 i)
{
	i = (i & ~3ULL) * (sizeof(u64) / 4) + (i & 3);
	opaque(i);
	return (volatile u8 *)m + (i & (sizeof(*m) - 1));
}

/* State knows fd of the process from now on. */
__inline_always void marks__set(u32 tgid, s64 fd)
{
	struct fd_marks *m = marks__of(tgid);
	u64 i = marks__place(fd);
	if (m && fd >= 0 && *marks__word(m, i) >> 32 == tgid)
		*marks__byte(m, i) = 1;
}

/* Whether state may know fd, which is closed: it doesn't any more. */
__inline_always bool marks__clear(u32 tgid, s64 fd)
{
	struct fd_marks *m = marks__of(tgid);
	u64 i = marks__place(fd);
	if (!m)
		return true;
	u64 word = *marks__word(m, i);
	if (unlikely(word >> 32 != tgid)) {
		if (!marks__claim(tgid))
			return true;
#pragma unroll
		for (int k = 0; k < FDS / 4; k++)
			*(volatile u64 *)&m->word[k] = (u64)tgid << 32 | MARKED_ALL;
	} else if (!(word >> 8 * (i & 3) & 0xFF)) {
		return marks_off;
	}
	if (i < FDS - 1)
		*marks__byte(m, i) = 0;
	return true;
}

/* The process has fds that can't be told by the call that brought them: it counts as having all of them. */
__inline_always void marks__all(u32 tgid)
{
	if (!filter_on)
		return;
	struct fd_marks *m = marks__of(tgid);
	if (!m)
		return;
#pragma unroll
	for (int k = 0; k < FDS / 4; k++) {
		if (*(volatile u64 *)&m->word[k] >> 32 == tgid)
			*(volatile u32 *)&m->word[k] = MARKED_ALL;
	}
}

/* A thread ends: with the last one the process's marks do. */
__inline_always void marks__exit(struct task_struct *t, u32 tgid)
{
	if (filter_on && !READ(READ(t, signal), live.counter))
		marks__forget(tgid);
}

/* A new process has the fds of the one that forked it. */
__inline_always void marks__fork(struct task_struct *parent, struct task_struct *child)
{
	if (!filter_on)
		return;
	u32 from = READ(parent, tgid), to = READ(child, tgid);
	bool shared = READ(parent, files) == READ(child, files);
	if ((from == to) != shared)
		marks_off = 1;
	if (from == to)
		return;
	marks__forget(to); /* an earlier process's of that number, whose end wasn't seen */
	struct fd_marks *m = marks__of(from), *n = marks__of(to);
	if (!m || !n || *(volatile u64 *)m->word >> 32 != from || !marks__claim(to))
		return;
#pragma unroll
	for (int k = 0; k < FDS / 4; k++) {
		u64 word = *(volatile u64 *)&m->word[k];
		*(volatile u64 *)&n->word[k] = (u64)to << 32 | (word >> 32 == from ? (u32)word : MARKED_ALL);
	}
}

/* 0x80 in every byte of v that is 0. */
__inline_always u64 filter__zeros(u64 v)
{
	const u64 low = 0x7F7F7F7F7F7F7F7FULL;
	return ~(((v & low) + low) | v | low);
}

/* One of the first three arguments. */
__inline_always u64 filter__arg(const struct call *c, u8 i)
{
	return i == 0 ? read__arg(c, 0) : i == 1 ? read__arg(c, 1) : read__arg(c, 2);
}

/*
 * The ways, of those wanted, that the path of the call fits. Only an absolute path without anything to be resolved in it is what a module would
 * compare; any other fits them all.
 */
__inline_always u32 filter__path(const struct filters *v, const struct filter *f, u32 want, struct cpu *c, const struct call *call)
{
	u64 *w = c->filter_path, ptr = filter__arg(call, f->path_arg);
	struct kept_name *kept = exact ? names__find(read__tid(call->task), call->nr, f->path_arg, ptr) : NULL;
	s64 n;
	if (kept)
		n = bpf_probe_read_kernel_str(w, FILTER_PATH_MAX, kept->s);
	else
		n = bpf_probe_read_user_str(w, FILTER_PATH_MAX, (void *)ptr);
	if (n <= 2 || n >= FILTER_PATH_MAX || *(u8 *)w != '/')
		return ~0u;
	u32 len = n - 1;
	for (u32 i = 0; i < FILTER_PATH_MAX / 8; i++) {
		if (8 * i >= len)
			break;
		u64 x = w[i], y = x >> 8 | w[i + 1] << 56;
		u32 rest = len - 8 * i; /* bytes of the path from here on; what lies behind them is of no meaning */
		if (rest < 8)
			x &= (1ULL << 8 * (rest & 7)) - 1;
		/* A slash before a slash, a dot or the end. The dot is the slash but for the lowest bit. */
		if (filter__zeros(x ^ EACH_BYTE * '/') & (filter__zeros((y | EACH_BYTE) ^ EACH_BYTE * '/') | filter__zeros(y)))
			return ~0u;
	}
	u32 ways = f->no_path;
	const struct filter_table *t = &v->t[f->table & (FILTER_TABLES - 1)];
	u32 bucket = *((u8 *)w + 1) & (FILTER_BUCKETS - 1), from = t->from[bucket], end = t->from[bucket + 1];
	for (u32 i = 0; i < FILTER_PATHS; i++) {
		if (from + i >= end)
			break;
		const struct filter_path *p = &t->path[(from + i) & (FILTER_PATHS - 1)];
		if (!(p->ways & want))
			continue;
		if (((w[0] ^ p->word[0]) & p->mask[0]) | ((w[1] ^ p->word[1]) & p->mask[1]))
			continue;
		if (((w[2] ^ p->word[2]) & p->mask[2]) | ((w[3] ^ p->word[3]) & p->mask[3]))
			continue;
		ways |= p->ways;
	}
	return ways;
}

/* The ways that the flags of an open fit. */
__inline_always u32 filter__open(const struct filter *f, u64 flags)
{
	u32 ways = f->open[0], mode = flags & 3;
	if (mode != O_WRONLY)
		ways |= f->open[1];
	if (mode == O_WRONLY || mode == O_RDWR || flags & O_TRUNC) /* which empties a file that is opened for reading, too */
		ways |= f->open[2];
	if (flags & (O_CREAT | O_TMPFILE))
		ways |= f->open[3];
	return ways;
}

/*
 * The ways that the ports of the socket, the call's first argument, fit. All for a datagram socket, each of whose messages may
 * go elsewhere, and for one that isn't connected any more, of which state may know what it was; of ia32's socketcall(2) too,
 * whose arguments lie in memory.
 */
__inline_always u32 filter__port(const struct filter *f, const struct call *c)
{
	if (read__is_multiplexer(c))
		return ~0u;
	struct sock *sk = read__sock(read__int(c, 0));
	if (!sk)
		return f->no_port;
	u16 family = READ(sk, __sk_common.skc_family);
	if (family != AF_INET && family != AF_INET6)
		return f->no_port;
	if (READ(sk, sk_type) != SOCK_STREAM)
		return ~0u;
	u32 ways = f->no_port;
	u16 local = __builtin_bswap16(READ((struct inet_sock *)sk, inet_sport)), remote = __builtin_bswap16(READ(sk, __sk_common.skc_dport));
	if (!remote)
		return ~0u;
#pragma unroll
	for (int i = 0; i < FILTER_PORTS; i++) {
		if (f->port[i] == local || f->port[i] == remote)
			ways |= f->port_ways[i];
	}
	return ways;
}

__inline_always bool filter__opened_directory(struct task_struct *t, s64 fd)
{
	struct file *file = read__file(t, fd);
	return !file || (READ(READ(file, f_inode), i_mode) & S_IFMT) == S_IFDIR;
}

/* Notes which fds state comes to know by the event of the call, which is made. */
__inline_always void filter__mark(const struct filter *f, const struct call *c, s64 ret, u32 tgid)
{
	if (ret < 0)
		return;
	if (f->what & FILTER_MARKS)
		marks__set(tgid, ret);
	if (unlikely(f->what & FILTER_FCNTL) && (read__arg(c, 1) == 0 || read__arg(c, 1) == 1030)) /* F_DUPFD, F_DUPFD_CLOEXEC */
		marks__set(tgid, ret);
	if (unlikely(f->what & FILTER_PAIR)) {
		u64 a[4];
		s32 fd[2] = {-1, -1};
		read__net_args(c, a, 4);
		bpf_probe_read_user(fd, sizeof(fd), (void *)(f->fd_arg == 3 ? a[3] : a[0]));
		marks__set(tgid, fd[0]);
		marks__set(tgid, fd[1]);
	}
	if (unlikely(f->what & FILTER_UNSHARE)) {
		u64 own = f->fd_arg == 0 ? 0x400 /* CLONE_FILES */ : 2 /* CLOSE_RANGE_UNSHARE */;
		if (f->fd_arg == FILTER_NONE || filter__arg(c, f->fd_arg) & own)
			marks_off = 1;
	}
}

__inline_always void filter__count(const struct call *c)
{
	struct cpu *cpu = submit__cpu();
	if (cpu)
		submit__add(&cpu->filtered[c->slot & (SLOTS - 1)], 1);
}

/* Whether the event of the call isn't made. */
__inline_always bool filter__drops(const struct call *c, s64 ret, u32 tgid)
{
	u32 key = 0;
	struct filters *v = bpf_map_lookup_elem(&filters, &key);
	if (!v)
		return false;
	u8 id = v->of[c->slot & (SLOTS - 1)];
	if (!id)
		return false;
	const struct filter *f = &v->f[id & (FILTERS - 1)];
	u32 what = f->what;
	if (what & FILTER_CLOSE) {
		if (ret != -9 && marks__clear(tgid, read__int(c, 0))) /* EBADF: there was no such fd */
			return false;
		filter__count(c);
		return true;
	}
	u32 ways = ret < 0 ? f->failure : f->success, free = f->no_path & f->no_port;
	bool writes = false;
	if (f->flags_arg != FILTER_NONE) {
		u64 flags = filter__arg(c, f->flags_arg);
		writes = (flags & 3) == O_WRONLY || (flags & 3) == O_RDWR;
		ways &= filter__open(f, flags);
	}
	/* Where each call has its own program each would be verified with this, which takes longer than all the rest: any path fits. */
	if (!fexit && unlikely(!(ways & free) && ways & ~f->no_path && f->path_arg != FILTER_NONE)) {
		struct cpu *cpu = submit__cpu();
		if (!cpu)
			return false;
		/* A program that may be preempted shares the CPU's memory with others, and judges nothing while one has it. */
		if (realtime) {
			submit__add(&cpu->busy, 1);
			if (*(volatile u64 *)&cpu->busy == 1)
				ways &= filter__path(v, f, ways, cpu, c);
			submit__add(&cpu->busy, -1);
		} else {
			ways &= filter__path(v, f, ways, cpu, c);
		}
	}
	if (unlikely(!(ways & free) && ways & ~f->no_port))
		ways &= filter__port(f, c);
	/* No directory is opened for writing. */
	if (!ways && ret >= 0 && what & FILTER_OPENS && !writes && filter__opened_directory(c->task, ret))
		ways = 1;
	if (!ways) {
		filter__count(c);
		return true;
	}
	if (unlikely(what & (FILTER_MARKS | FILTER_PAIR | FILTER_FCNTL | FILTER_UNSHARE)))
		filter__mark(f, c, ret, tgid);
	return false;
}

#endif
