/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* probe.bpf.c: the probe in one object. Layers first (read, store, submit), then one file for each hook or family. */
#include "../include/vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "../include/events_gen.h"
#include "../include/record.h"
#include "../include/maps.h"
#include "../include/read_core.h"
#include "../include/read_call.h"
#include "../include/read_task.h"
#include "../include/read_file.h"
#include "../include/flags.h"
#include "../include/submit.h"
#include "../include/store_value.h"
#include "../include/store_string.h"
#include "../include/store_path.h"
#include "../include/store_sock.h"
#include "../include/store_process.h"

#include "sys_exit.bpf.c"
#include "exec.bpf.c"
#include "clone.bpf.c"
#include "exit.bpf.c"
#include "open.bpf.c"
#include "fd.bpf.c"
#include "bpf.bpf.c"
#include "capset.bpf.c"
#include "chdir.bpf.c"
#include "chmod.bpf.c"
#include "chown.bpf.c"
#include "kill.bpf.c"
#include "link.bpf.c"
#include "memory.bpf.c"
#include "mkdir.bpf.c"
#include "module.bpf.c"
#include "mount.bpf.c"
#include "ns.bpf.c"
#include "prctl.bpf.c"
#include "ptrace.bpf.c"
#include "rename.bpf.c"
#include "send.bpf.c"
#include "setid.bpf.c"
#include "sock.bpf.c"
#include "unlink.bpf.c"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
