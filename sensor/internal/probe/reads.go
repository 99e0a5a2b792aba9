package probe

import (
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// ReadFrom says where a parameter of an event comes from, and so whether somebody could have changed it in the meantime.
type ReadFrom uint8

// The sources. All are read when the call ends.
const (
	FromRegisters ReadFrom = iota // the call's registers and its result: what the kernel worked with
	FromKernel                    // objects of the kernel, such as the file behind an fd: what is
	FromMemory                    // the program's memory, which the program or another of its threads may have changed since the kernel read it
	FromPath                      // a path in the program's memory: with Config.ExactPaths the kernel's own copy of it, if that could be kept
)

// String returns how the docs call it.
func (f ReadFrom) String() string {
	return [...]string{"registers", "kernel", "memory", "path"}[f]
}

// fromKernel and fromMemory name the parameters, by event, that aren't what their type says: numbers come from registers, paths
// are paths, sockets' addresses (tuple) the kernel's, and all else of any length is memory.
var fromKernel = map[string][]string{
	"open": {"dev", "ino"}, "openat": {"dev", "ino"}, "openat2": {"dev", "ino"}, "creat": {"dev", "ino", "creat_flags"},
	"open_by_handle_at": {"path", "dev", "ino"}, "pipe": {"ino"}, "pipe2": {"ino"},
	"capset": {"cap_inheritable", "cap_permitted", "cap_effective"}, "bpf": {"object", "id"}, "pidfd_send_signal": {"pid"}, "pidfd_getfd": {"pid"}, "dup": {"path", "type", "dev", "ino"}, "process_madvise": {"pid"},
	"accept": {"queuepct", "queuelen", "queuemax"}, "accept4": {"queuepct", "queuelen", "queuemax"}, "socketpair": {"source", "peer"},
	"bind": {"port"},
}

var fromMemory = map[string][]string{
	"openat2": {"flags", "mode", "resolve"}, "signalfd": {"mask"}, "signalfd4": {"mask"}, "sendfile": {"offset"}, "pipe": {"fd1", "fd2"},
	"pipe2": {"fd1", "fd2"}, "socketpair": {"fd1", "fd2"}, "getresuid": {"ruid", "euid", "suid"}, "getresgid": {"rgid", "egid", "sgid"},
	"io_uring_setup": {"sq_entries", "cq_entries", "flags", "sq_thread_cpu", "sq_thread_idle", "features"},
	"setrlimit":      {"cur", "max"}, "getrlimit": {"cur", "max"}, "prlimit": {"newcur", "newmax", "oldcur", "oldmax"},
	"semop":    {"sem_num_0", "sem_op_0", "sem_flg_0", "sem_num_1", "sem_op_1", "sem_flg_1"},
	"quotactl": {"dqb_bhardlimit", "dqb_bsoftlimit", "dqb_curspace", "dqb_ihardlimit", "dqb_isoftlimit", "dqb_btime", "dqb_itime", "dqi_bgrace", "dqi_igrace", "dqi_flags", "quota_fmt_out"},
	"ppoll":    {"timeout", "sigmask"}, "nanosleep": {"interval"}, "writev": {"size"}, "pwritev": {"size"}, "sendmsg": {"size"}, "sendmmsg": {"size"},
	"recvmmsg": {"size"}, "getsockopt": {"optlen"}, "ptrace": {"data"},
}

// processes are the events whose parameters are of the task, but for those that its own memory holds.
var processes = []string{"execve", "execveat", "clone", "clone3", "fork", "vfork"}

// ReadsFrom returns where parameter i of events of type t comes from. Events that no system call makes come from the kernel.
func ReadsFrom(t event.Type, i int) ReadFrom {
	in := t.Info()
	param := in.Params[i]
	switch {
	case strings.HasPrefix(param.Name, "vm_"): // of the task's memory
		return FromKernel
	case slices.Contains(fromMemory[in.Name], param.Name):
		return FromMemory
	case slices.Contains(fromKernel[in.Name], param.Name) || in.Origin != event.OriginSyscall:
		return FromKernel
	case slices.Contains(processes, in.Name):
		switch param.Name {
		case "res":
			return FromRegisters
		case "exe", "args", "env":
			return FromMemory
		}
		return FromKernel
	case param.Type == event.ParamFspath || param.Type == event.ParamFsrelpath || in.Name == "chdir" && param.Name == "path":
		if len(pathArgs[in.Name]) == 0 {
			return FromMemory
		}
		return FromPath
	case param.Type == event.ParamSocktuple:
		return FromKernel
	case param.Type.Size() == 0:
		return FromMemory
	}
	return FromRegisters
}
