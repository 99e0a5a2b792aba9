/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* bpf */

/* Commands, include/uapi/linux/bpf.h. */
enum {
	C_MAP_CREATE = 0,
	C_MAP_LOOKUP_ELEM = 1,
	C_MAP_GET_NEXT_KEY = 4,
	C_PROG_LOAD = 5,
	C_OBJ_PIN = 6,
	C_OBJ_GET = 7,
	C_PROG_ATTACH = 8,
	C_PROG_DETACH = 9,
	C_PROG_TEST_RUN = 10,
	C_PROG_GET_FD_BY_ID = 13,
	C_MAP_GET_FD_BY_ID = 14,
	C_OBJ_GET_INFO_BY_FD = 15,
	C_RAW_TRACEPOINT_OPEN = 17,
	C_BTF_GET_FD_BY_ID = 19,
	C_MAP_LOOKUP_AND_DELETE_ELEM = 21,
	C_MAP_FREEZE = 22,
	C_MAP_LOOKUP_BATCH = 24,
	C_MAP_DELETE_BATCH = 27,
	C_LINK_CREATE = 28,
	C_LINK_UPDATE = 29,
	C_LINK_GET_FD_BY_ID = 30,
	C_ITER_CREATE = 33,
	C_LINK_DETACH = 34,
	C_PROG_BIND_MAP = 35,
};

/* Where in its attributes a command has the fd of the object that it is about, in words; -1 for nowhere. */
__inline_always s32 bpf__fd_word(u32 cmd)
{
	if ((cmd >= C_MAP_LOOKUP_ELEM && cmd <= C_MAP_GET_NEXT_KEY) || cmd == C_MAP_LOOKUP_AND_DELETE_ELEM || cmd == C_MAP_FREEZE ||
	    cmd == C_PROG_TEST_RUN || cmd == C_OBJ_GET_INFO_BY_FD || cmd == C_LINK_CREATE || cmd == C_LINK_UPDATE || cmd == C_LINK_DETACH ||
	    cmd == C_ITER_CREATE || cmd == C_PROG_BIND_MAP)
		return 0;
	if (cmd == C_PROG_ATTACH || cmd == C_PROG_DETACH)
		return 1;
	if (cmd == C_OBJ_PIN || cmd == C_RAW_TRACEPOINT_OPEN)
		return 2;
	if (cmd >= C_MAP_LOOKUP_BATCH && cmd <= C_MAP_DELETE_BATCH)
		return 9;
	return -1;
}

/* The kind of object that a command names by its id. */
__inline_always enum bpf_object bpf__by_id(u32 cmd)
{
	return cmd == C_MAP_GET_FD_BY_ID ? BPF_OBJECT_MAP : cmd == C_PROG_GET_FD_BY_ID ? BPF_OBJECT_PROG
		: cmd == C_LINK_GET_FD_BY_ID ? BPF_OBJECT_LINK : cmd == C_BTF_GET_FD_BY_ID ? BPF_OBJECT_BTF : BPF_OBJECT_NONE;
}

CALL(bpf)
{
	struct rec r;
	u32 cmd = read__arg(&c, 0), id = 0;
	enum bpf_object object = bpf__by_id(cmd);
	s32 word = object ? 0 : bpf__fd_word(cmd);
	if (cmd == C_MAP_CREATE || cmd == C_PROG_LOAD || cmd == C_OBJ_GET) {
		object = read__bpf_object(ret, &id); /* what it made */
	} else if (word >= 0) {
		u32 v = 0;
		bpf_probe_read_user(&v, sizeof(v), (u8 *)read__arg(&c, 1) + 4 * word);
		if (object)
			id = v;
		else
			object = read__bpf_object((s32)v, &id);
	}
	if (!RESERVE(&r, &c, SYSCALL_BPF_2_X))
		return 0;
	/* fd: ParamFd */
	store__s64(&r, ret);
	/* cmd: ParamEnumflags32 */
	store__u32(&r, cmd);
	if (object) {
		/* object: ParamEnumflags8 */
		store__u8(&r, object);
		/* id: ParamUint32 */
		store__u32(&r, id);
	} else {
		store__missing(&r);
		store__missing(&r);
	}
	submit__reserved(&r);
	return 0;
}
