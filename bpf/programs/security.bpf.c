/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The security functions: what the kernel asks its security modules before it does something (security/security.c), with objects
 * and not with names, whichever system call, io_uring or worker asks. Each program is loaded for the function's end (fexit), for
 * the hook of the BPF security module (lsm), or as a probe at the function's begin (kprobe): sensor/internal/probe/security.go
 * tries them in that order and says by the constants below where the arguments are. Loaded only when somebody asks for the event.
 */

#define HOOK_NONE 7 /* the result isn't known: at a function's begin */

/* Which arguments are the two that the program looks at, and where the result follows; HOOK_NONE for none. */
const volatile u32 hook_a, hook_b, hook_ret;

/* Loads with a place that the verifier sees as a constant; the compiler would make one load with a place that it computes. */
#define HOOK_CTX(v, ctx, i) asm volatile("%0 = *(u64 *)(%1 + " #i ")" : "=r"(v) : "r"(ctx))

__inline_always u64 hook__ctx(u64 *ctx, u32 i)
{
	u64 v = 0;
	if (i == 0)
		HOOK_CTX(v, ctx, 0);
	if (i == 1)
		HOOK_CTX(v, ctx, 8);
	if (i == 2)
		HOOK_CTX(v, ctx, 16);
	if (i == 3)
		HOOK_CTX(v, ctx, 24);
	if (i == 4)
		HOOK_CTX(v, ctx, 32);
	if (i == 5)
		HOOK_CTX(v, ctx, 40);
	if (i == 6)
		HOOK_CTX(v, ctx, 48);
	return v;
}

/* Argument i of a function that begins, of the first five. */
__inline_always u64 hook__reg(struct pt_regs *regs, u32 i)
{
	unsigned long v = 0;
#if defined(__TARGET_ARCH_x86)
	bpf_probe_read_kernel(&v, sizeof(v), i == 0 ? &regs->di : i == 1 ? &regs->si : i == 2 ? &regs->dx : i == 3 ? &regs->cx : &regs->r8);
#elif defined(__TARGET_ARCH_arm64)
	bpf_probe_read_kernel(&v, sizeof(v), &regs->regs[i & 7]);
#endif
	return v;
}

/* A program for a hook: HOOK(name) { ... a, b, res ... }; the loader says what it is attached to. */
#define HOOK(name)                                                                                                     \
	__inline_always int hook_##name(void *a, void *b, s64 res);                                                    \
	SEC("fexit/security_file_open")                                                                                \
	int exit_##name(u64 *ctx)                                                                                      \
	{                                                                                                              \
		u64 a = hook__ctx(ctx, hook_a), b = hook__ctx(ctx, hook_b);                                            \
		s64 res = hook_ret == HOOK_NONE ? 1 : (s32)hook__ctx(ctx, hook_ret);                                   \
		hook_##name((void *)a, (void *)b, res);                                                                \
		return 0;                                                                                              \
	}                                                                                                              \
	SEC("kprobe/security_file_open")                                                                               \
	int kprobe_##name(struct pt_regs *ctx)                                                                         \
	{                                                                                                              \
		u64 a = hook__reg(ctx, hook_a), b = hook__reg(ctx, hook_b);                                            \
		hook_##name((void *)a, (void *)b, 1);                                                                  \
		return 0;                                                                                              \
	}                                                                                                              \
	__inline_always int hook_##name(void *a, void *b, s64 res)

/* Whether a thread's question makes an event; fills in id, the thread's and the process's number. */
__inline_always struct cpu *hook__cpu(u64 *id)
{
	*id = bpf_get_current_pid_tgid();
	return *id >> 32 == self_tgid ? NULL : submit__cpu();
}

/* The result, of which 1 says that it isn't known. */
__inline_always void hook__store_res(struct rec *r, s64 res)
{
	store__s64(r, res);
	if (res == 1)
		*(u32 *)(r->p + RECORD_HEADER) = 0; /* the first entry, missing */
}

#define HOOK_BEGIN(r, cpu, id, TYPE) ((cpu) && submit__begin(r, cpu, TYPE, TYPE##_N, TYPE##_END, (u32)(id), NO_NR, 0, 0))

HOOK(file_open)
{
	struct rec r;
	u64 id;
	struct file *f = a;
	struct cpu *cpu = hook__cpu(&id);
	if (!HOOK_BEGIN(&r, cpu, id, SECURITY_FILE_OPEN_X))
		return 0;
	struct inode *inode = READ(f, f_inode);
	struct super_block *sb = READ(inode, i_sb);
	enum layer layer = read__layer(inode, sb);
	/* res: ParamErrno */
	hook__store_res(&r, res);
	/* path: ParamFspath, from the root of the thread's mount namespace */
	store__file_path(&r, f);
	/* flags: ParamFlags32 */
	store__u32(&r, flags__open(READ(f, f_flags)) | (READ(f, f_mode) & FMODE_CREATED ? F_CREATED : 0) |
			       (layer == LAYER_UPPER ? F_UPPER_LAYER : layer == LAYER_LOWER ? F_LOWER_LAYER : 0));
	/* dev: ParamUint32 */
	store__u32(&r, read__dev(READ(sb, s_dev)));
	/* ino: ParamUint64 */
	store__u64(&r, READ(inode, i_ino));
	/* uid: ParamUid, by whose rights it is opened */
	store__u32(&r, READ(READ(f, f_cred), fsuid.val));
	submit__scratch(&r);
	return 0;
}

HOOK(bprm_check)
{
	struct rec r;
	u64 id;
	struct linux_binprm *bprm = a;
	struct cpu *cpu = hook__cpu(&id);
	if (!HOOK_BEGIN(&r, cpu, id, SECURITY_BPRM_CHECK_X))
		return 0;
	struct file *f = READ(bprm, file);
	struct inode *inode = READ(f, f_inode);
	/* res: ParamErrno */
	hook__store_res(&r, res);
	/* path: ParamFspath, from the root of the thread's mount namespace: of a script, and then of its interpreter */
	store__file_path(&r, f);
	/* filename: ParamCharbuf, as the call named it */
	store__kernel_string(&r, READ(bprm, filename), STRING_MAX);
	/* dev: ParamUint32 */
	store__u32(&r, read__dev(READ(READ(inode, i_sb), s_dev)));
	/* ino: ParamUint64 */
	store__u64(&r, READ(inode, i_ino));
	/* uid: ParamUid, effective, of the program that is to run */
	store__u32(&r, READ(READ(bprm, cred), euid.val));
	submit__scratch(&r);
	return 0;
}

/* unlink, rmdir */
HOOK(inode_unlink)
{
	struct rec r;
	u64 id;
	struct dentry *d = a;
	struct cpu *cpu = hook__cpu(&id);
	u32 mine = guard__of_dentry(d) & GUARD_OWN;
	if ((guard_only >> GUARD_KIND_UNLINK & 1 && !mine) || !HOOK_BEGIN(&r, cpu, id, SECURITY_INODE_UNLINK_X))
		return 0;
	struct inode *inode = READ(d, d_inode);
	/* res: ParamErrno */
	hook__store_res(&r, res);
	/* path: ParamCharbuf, within the file system */
	store__path_within(&r, d);
	/* dev: ParamUint32 */
	store__u32(&r, read__dev(READ(READ(d, d_sb), s_dev)));
	/* ino: ParamUint64 */
	store__u64(&r, READ(inode, i_ino));
	/* sensor: ParamBool */
	store__u32(&r, mine ? 1 : 0);
	submit__scratch(&r);
	return 0;
}

HOOK(inode_rename)
{
	struct rec r;
	u64 id;
	struct dentry *from = a, *to = b;
	struct cpu *cpu = hook__cpu(&id);
	u32 mine = guard__of_dentry(from) | guard__of_dentry(to);
	if ((guard_only >> GUARD_KIND_RENAME & 1 && !mine) || !HOOK_BEGIN(&r, cpu, id, SECURITY_INODE_RENAME_X))
		return 0;
	struct inode *old = READ(from, d_inode), *over = READ(to, d_inode);
	/* res: ParamErrno */
	hook__store_res(&r, res);
	/* path: ParamCharbuf, within the file system */
	store__path_within(&r, from);
	/* newpath: ParamCharbuf */
	store__path_within(&r, to);
	/* dev: ParamUint32 */
	store__u32(&r, read__dev(READ(READ(from, d_sb), s_dev)));
	/* ino: ParamUint64 */
	store__u64(&r, READ(old, i_ino));
	/* newino: ParamUint64, of what is replaced; 0 for nothing */
	store__u64(&r, over ? READ(over, i_ino) : 0);
	/* sensor: ParamBool */
	store__u32(&r, mine ? 1 : 0);
	submit__scratch(&r);
	return 0;
}

/* chmod, chown, truncate, utimes and their like */
HOOK(inode_setattr)
{
	struct rec r;
	u64 id;
	struct dentry *d = a;
	struct iattr *attr = b;
	struct cpu *cpu = hook__cpu(&id);
	u32 mine = guard__of_dentry(d) & GUARD_OWN;
	if ((guard_only >> GUARD_KIND_SETATTR & 1 && !mine) || !HOOK_BEGIN(&r, cpu, id, SECURITY_INODE_SETATTR_X))
		return 0;
	u32 what = READ(attr, ia_valid);
	/* res: ParamErrno */
	hook__store_res(&r, res);
	/* path: ParamCharbuf, within the file system */
	store__path_within(&r, d);
	/* dev: ParamUint32 */
	store__u32(&r, read__dev(READ(READ(d, d_sb), s_dev)));
	/* ino: ParamUint64 */
	store__u64(&r, READ(READ(d, d_inode), i_ino));
	/* what: ParamFlags32; those that say how it is to be done are left out */
	store__u32(&r, what & 0x7f);
	/* mode: ParamMode, 0 when it isn't changed */
	store__u32(&r, what & 1 ? READ(attr, ia_mode) & 07777 : 0);
	/* sensor: ParamBool */
	store__u32(&r, mine ? 1 : 0);
	submit__scratch(&r);
	return 0;
}

/* setxattr, removexattr and their like */
HOOK(inode_setxattr)
{
	struct rec r;
	u64 id;
	struct dentry *d = a;
	struct cpu *cpu = hook__cpu(&id);
	u32 mine = guard__of_dentry(d) & GUARD_OWN;
	if ((guard_only >> GUARD_KIND_SETXATTR & 1 && !mine) || !HOOK_BEGIN(&r, cpu, id, SECURITY_INODE_SETXATTR_X))
		return 0;
	/* res: ParamErrno */
	hook__store_res(&r, res);
	/* path: ParamCharbuf, within the file system */
	store__path_within(&r, d);
	/* name: ParamCharbuf */
	store__kernel_string(&r, b, NAME_MAX);
	/* dev: ParamUint32 */
	store__u32(&r, read__dev(READ(READ(d, d_sb), s_dev)));
	/* ino: ParamUint64 */
	store__u64(&r, READ(READ(d, d_inode), i_ino));
	/* sensor: ParamBool */
	store__u32(&r, mine ? 1 : 0);
	submit__scratch(&r);
	return 0;
}

/* mount, move_mount: where. What is mounted in other mount namespaces doesn't cover the sensor's files, unless it spreads from there. */
HOOK(sb_mount)
{
	struct rec r;
	u64 id;
	struct path *p = a;
	struct cpu *cpu = hook__cpu(&id);
	struct dentry *d = READ(p, dentry);
	struct vfsmount *vm = READ(p, mnt);
	struct mount *m = (void *)vm - bpf_core_field_offset(struct mount, mnt);
	u32 mine = guard__of_dentry(d);
	if (!self_mnt_ns || ((u64)READ(m, mnt_ns) != self_mnt_ns && !READ(m, mnt_group_id)))
		mine = 0;
	if ((guard_only >> GUARD_KIND_MOUNT & 1 && !mine) || !HOOK_BEGIN(&r, cpu, id, SECURITY_SB_MOUNT_X))
		return 0;
	/* res: ParamErrno */
	hook__store_res(&r, res);
	/* path: ParamFspath, from the root of the thread's mount namespace */
	store__dentry(&r, d, vm);
	/* dev: ParamUint32 */
	store__u32(&r, read__dev(READ(READ(d, d_sb), s_dev)));
	/* ino: ParamUint64 */
	store__u64(&r, READ(READ(d, d_inode), i_ino));
	/* sensor: ParamBool */
	store__u32(&r, mine ? 1 : 0);
	submit__scratch(&r);
	return 0;
}

/* Keeps what a call opens until it ends: see opens.h. Makes no event. */
HOOK(keep_open)
{
	struct file *f = a;
	u64 id = bpf_get_current_pid_tgid(), arg;
	u32 tid = id, nr, compat = read__compat(read__task());
	if (id >> 32 == self_tgid || (res < 0) || READ(f, f_mode) & FMODE_NOACCOUNT)
		return 0;
	clone__read_call(clone__regs(read__task()), compat, &nr, &arg);
	if (nr >= NATIVE || !(wanted[compat & 1][nr / 64 & (NATIVE / 64 - 1)] >> (nr & 63) & 1) ||
	    !opens_of[slot_of[compat & 1][nr & (NATIVE - 1)] & (SLOTS - 1)])
		return 0;
	struct inode *inode = READ(f, f_inode);
	struct super_block *sb = READ(inode, i_sb);
	enum layer layer = read__layer(inode, sb);
	struct kept_open k = {.ino = READ(inode, i_ino), .dev = READ(sb, s_dev), .nr = nr};
	k.what = (READ(f, f_mode) & FMODE_CREATED ? OPENED_CREATED : 0) |
		 (layer == LAYER_UPPER ? OPENED_UPPER : layer == LAYER_LOWER ? OPENED_LOWER : 0);
	struct kept_open *before = bpf_map_lookup_elem(&opens, &tid);
	k.first_ino = before && before->nr == nr ? before->first_ino : k.ino;
	k.first_dev = before && before->nr == nr ? before->first_dev : k.dev;
	if (bpf_map_update_elem(&opens, &tid, &k, BPF_ANY))
		__sync_fetch_and_add(&opens_full, 1);
	return 0;
}
