package probe

import (
	"runtime"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The function in which a system call begins is called sys_NAME behind a prefix of its ABI, but not always. What differs is
// stated here, from the kernel's tables of each ABI (arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl,
// arch/arm64/tools/syscall_32.tbl, scripts/syscall.tbl). A kernel may have several of a call's functions; all are meant then,
// for a program that is attached to one that never runs costs nothing.

// entryAMD64 and entryARM64 are those of the kernel's own ABI.
var entryAMD64 = map[string]string{
	"stat": "newstat", "fstat": "newfstat", "lstat": "newlstat", "sendfile": "sendfile64", "uname": "newuname", "umount2": "umount",
}

var entryARM64 = map[string]string{
	"fstat": "newfstat", "sendfile": "sendfile64", "uname": "newuname", "umount2": "umount", "fadvise64": "fadvise64_64",
	"personality": "arm64_personality",
}

// entry32 are those of 32-bit programs on both, several names separated by a blank.
var entry32 = map[string]string{
	"stat": "newstat", "fstat": "newfstat", "lstat": "newlstat", "uname": "newuname", "umount2": "umount", "umount": "oldumount",
	"oldstat": "stat", "oldfstat": "fstat", "oldlstat": "lstat", "olduname": "uname", "oldolduname": "olduname",
	"ugetrlimit": "getrlimit", "_newselect": "select", "_llseek": "llseek", "fcntl": "fcntl fcntl64", "quotactl": "quotactl quotactl32",
	// 16-bit user and group ids, and those that have more bits
	"chown": "chown16", "lchown": "lchown16", "fchown": "fchown16", "setuid": "setuid16", "getuid": "getuid16", "setgid": "setgid16",
	"getgid": "getgid16", "geteuid": "geteuid16", "getegid": "getegid16", "setreuid": "setreuid16", "setregid": "setregid16",
	"getgroups": "getgroups16", "setgroups": "setgroups16", "setfsuid": "setfsuid16", "setfsgid": "setfsgid16",
	"setresuid": "setresuid16", "getresuid": "getresuid16", "setresgid": "setresgid16", "getresgid": "getresgid16",
	"chown32": "chown", "lchown32": "lchown", "fchown32": "fchown", "setuid32": "setuid", "getuid32": "getuid", "setgid32": "setgid",
	"getgid32": "getgid", "geteuid32": "geteuid", "getegid32": "getegid", "setreuid32": "setreuid", "setregid32": "setregid",
	"getgroups32": "getgroups", "setgroups32": "setgroups", "setfsuid32": "setfsuid", "setfsgid32": "setfsgid",
	"setresuid32": "setresuid", "getresuid32": "getresuid", "setresgid32": "setresgid", "getresgid32": "getresgid",
	// 32-bit times, and those that have more bits
	"time": "time32", "stime": "stime32", "utime": "utime32", "adjtimex": "adjtimex_time32", "nanosleep": "nanosleep_time32",
	"sched_rr_get_interval": "sched_rr_get_interval_time32", "rt_sigtimedwait": "rt_sigtimedwait_time32", "futex": "futex_time32",
	"io_getevents": "io_getevents_time32", "timer_settime": "timer_settime32", "timer_gettime": "timer_gettime32",
	"clock_settime": "clock_settime32", "clock_gettime": "clock_gettime32", "clock_getres": "clock_getres_time32",
	"clock_nanosleep": "clock_nanosleep_time32", "clock_adjtime": "clock_adjtime32", "utimes": "utimes_time32",
	"mq_timedsend": "mq_timedsend_time32", "mq_timedreceive": "mq_timedreceive_time32", "futimesat": "futimesat_time32",
	"pselect6": "pselect6_time32", "ppoll": "ppoll_time32", "utimensat": "utimensat_time32", "timerfd_settime": "timerfd_settime32",
	"timerfd_gettime": "timerfd_gettime32", "recvmmsg": "recvmmsg_time32", "io_pgetevents": "io_pgetevents io_pgetevents_time32",
	"semtimedop": "semtimedop_time32", "clock_gettime64": "clock_gettime", "clock_settime64": "clock_settime",
	"clock_adjtime64": "clock_adjtime", "clock_getres_time64": "clock_getres", "clock_nanosleep_time64": "clock_nanosleep",
	"timer_gettime64": "timer_gettime", "timer_settime64": "timer_settime", "timerfd_gettime64": "timerfd_gettime",
	"timerfd_settime64": "timerfd_settime", "utimensat_time64": "utimensat", "pselect6_time64": "pselect6 pselect6_time64",
	"ppoll_time64": "ppoll ppoll_time64", "io_pgetevents_time64": "io_pgetevents io_pgetevents_time64",
	"recvmmsg_time64": "recvmmsg recvmmsg_time64", "mq_timedsend_time64": "mq_timedsend", "mq_timedreceive_time64": "mq_timedreceive",
	"semtimedop_time64": "semtimedop", "rt_sigtimedwait_time64": "rt_sigtimedwait rt_sigtimedwait_time64", "futex_time64": "futex",
	"sched_rr_get_interval_time64": "sched_rr_get_interval",
}

// entryIA32 and entryARM are those of one of the two, before entry32.
var entryIA32 = map[string]string{
	"getrlimit": "old_getrlimit", "select": "old_select", "readdir": "old_readdir", "mmap": "ia32_mmap x86_mmap",
	"mmap2": "mmap_pgoff", "clone": "ia32_clone x86_clone", "pread64": "ia32_pread64", "pwrite64": "ia32_pwrite64",
	"truncate64": "ia32_truncate64", "ftruncate64": "ia32_ftruncate64", "stat64": "ia32_stat64", "lstat64": "ia32_lstat64",
	"fstat64": "ia32_fstat64", "fstatat64": "ia32_fstatat64", "readahead": "ia32_readahead", "fadvise64": "ia32_fadvise64",
	"fadvise64_64": "ia32_fadvise64_64", "sync_file_range": "ia32_sync_file_range", "fallocate": "ia32_fallocate",
}

var entryARM = map[string]string{
	"pread64": "aarch32_pread64", "pwrite64": "aarch32_pwrite64", "truncate64": "aarch32_truncate64",
	"ftruncate64": "aarch32_ftruncate64", "mmap2": "aarch32_mmap2", "readahead": "aarch32_readahead", "fallocate": "aarch32_fallocate",
	"statfs64": "aarch32_statfs64", "fstatfs64": "aarch32_fstatfs64", "arm_fadvise64_64": "aarch32_fadvise64_64",
	"arm_sync_file_range": "aarch32_sync_file_range2", "semctl": "old_semctl", "msgctl": "old_msgctl", "shmctl": "old_shmctl",
	"semtimedop": "semtimedop_time32",
}

// entryNames returns the names of the functions, without sys_ and what is before it, in which a system call may begin.
func entryNames(arch int, call string) []string {
	var tables []map[string]string
	switch arch {
	case int(event.ArchAMD64):
		tables = []map[string]string{entryAMD64}
	case int(event.ArchARM64):
		tables = []map[string]string{entryARM64}
	case int(event.ArchIA32):
		tables = []map[string]string{entryIA32, entry32}
	case int(event.ArchARM):
		tables = []map[string]string{entryARM, entry32}
	}
	for _, t := range tables {
		if names, ok := t[call]; ok {
			return strings.Fields(names)
		}
	}
	return []string{call}
}

// entryPrefixes are what stands before a name of entryNames, by ABI. The first that a kernel has is not enough: of calls that
// have both forms, some tables name the one and some the other.
func entryPrefixes(arch int) []string {
	switch arch {
	case int(event.ArchAMD64):
		return []string{"__x64_sys_"}
	case int(event.ArchARM64):
		return []string{"__arm64_sys_"}
	case int(event.ArchIA32):
		return []string{"__ia32_compat_sys_", "__ia32_sys_"}
	case int(event.ArchARM):
		return []string{"__arm64_compat_sys_", "__arm64_sys_"}
	}
	return nil
}

// entries returns the functions of this kernel in which a system call begins; none when its types know none.
func entries(types *btf.Spec, arch int, call string) []string {
	var found []string
	for _, name := range entryNames(arch, call) {
		// Calls without arguments have one function for all ABIs of x86 (SYSCALL_DEFINE0, arch/x86/include/asm/syscall_wrapper.h).
		// It may have the other names too, but be attached to by one only.
		if do := "__do_sys_" + name; runtime.GOARCH == "amd64" && takesRegs(types, do) {
			found = append(found, do)
			continue
		}
		for _, prefix := range entryPrefixes(arch) {
			if takesRegs(types, prefix+name) {
				found = append(found, prefix+name)
			}
		}
	}
	return found
}

// takesRegs reports whether the kernel has a function whose only argument is the registers, as a program of the probe wants. Some
// kernels' types have two functions of a name, or don't say what registers are (seen with 5.10 and 6.1 on amd64): those won't do.
func takesRegs(types *btf.Spec, name string) bool {
	var fn *btf.Func
	if types.TypeByName(name, &fn) != nil {
		return false
	}
	proto, ok := btf.UnderlyingType(fn.Type).(*btf.FuncProto)
	if !ok || len(proto.Params) != 1 {
		return false
	}
	ptr, ok := btf.UnderlyingType(proto.Params[0].Type).(*btf.Pointer)
	if !ok {
		return false
	}
	regs, ok := btf.UnderlyingType(ptr.Target).(*btf.Struct)
	return ok && regs.Name == "pt_regs"
}
