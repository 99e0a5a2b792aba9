package field

import (
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// errnoNames are the error numbers from 1 on, "-" for those without a name: the generic ones, which all architectures
// shikra runs on share (include/uapi/asm-generic/errno.h@v6.18).
var errnoNames = strings.Fields(`
	EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD
	EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR
	EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS
	EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP
	- ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI
	EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR
	ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM
	EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD
	ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE
	EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN
	ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT
	ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM
	EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD
	ENOTRECOVERABLE ERFKILL EHWPOISON`)

// kernelErrnoNames are the error numbers from 512 on, which the kernel keeps to itself but a tracer sees
// (include/linux/errno.h@v6.18).
var kernelErrnoNames = strings.Fields(`
	ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ENOIOCTLCMD ERESTART_RESTARTBLOCK EPROBE_DEFER EOPENSTALE ENOPARAM - EBADHANDLE
	ENOTSYNC EBADCOOKIE ENOTSUPP ETOOSMALL ESERVERFAULT EBADTYPE EJUKEBOX EIOCBQUEUED EIOCBRETRY`)

// errnoName returns the name of error number n > 0; "" for none.
func errnoName(n int64) string { return nth(errnoNames, n-1, nth(kernelErrnoNames, n-512, "")) }

// signalNames are the signals from 1 on (include/uapi/asm-generic/signal.h@v6.18).
var signalNames = strings.Fields(`
	SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1
	SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP
	SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR
	SIGSYS`)

func signalName(n int64) string { return nth(signalNames, n-1, "") }

// capNames are the capabilities by their bit (include/uapi/linux/capability.h@v6.18).
var capNames = strings.Fields(`
	CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP CAP_LINUX_IMMUTABLE
	CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE
	CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE
	CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF
	CAP_CHECKPOINT_RESTORE`)

// appendCaps appends the names of the bits in caps, with blanks between.
func appendCaps(dst []byte, caps uint64) []byte {
	n := len(dst)
	for i, name := range capNames {
		if caps&(1<<i) != 0 {
			if len(dst) > n {
				dst = append(dst, ' ')
			}
			dst = append(dst, name...)
		}
	}
	return dst
}

func nth(names []string, i int64, or string) string {
	if i >= 0 && i < int64(len(names)) && names[i] != "-" {
		return names[i]
	}
	return or
}

// syscallNames are the names of the system calls by the capture format's code.
var syscallNames = func() []string {
	var out []string
	for _, s := range event.Syscalls() {
		for int(s.Code) >= len(out) {
			out = append(out, "-")
		}
		if s.Code >= 0 {
			out[s.Code] = s.Name
		}
	}
	return out
}()

func syscallName(code int64) string { return nth(syscallNames, code, "") }

// kindNames are the names of file kinds (fd.type).
var kindNames = []EnumName{
	{0, ""}, {'f', "file"}, {'d', "directory"}, {'4', "ipv4"}, {'6', "ipv6"}, {'u', "unix"}, {'p', "pipe"}, {'e', "event"},
	{'s', "signalfd"}, {'l', "eventpoll"}, {'i', "inotify"}, {'t', "timerfd"}, {'m', "memfd"}, {'b', "bpf"}, {'n', "netlink"},
	{'r', "io_uring"}, {'x', "userfaultfd"}, {'P', "pidfd"},
}

// protoNames are the names of file.l4proto (fd.l4proto).
var protoNames = []EnumName{{6, "tcp"}, {17, "udp"}, {1, "icmp"}, {58, "icmp"}, {255, "raw"}}

// familyNames are the socket families of file kinds (fd.sockfamily).
var familyNames = []EnumName{{'4', "ip"}, {'6', "ip"}, {'u', "unix"}}

// containerKinds are the names of container.kind (container.type).
var containerKinds = [...]string{"", "docker", "lxc", "libvirt-lxc", "containerd", "cri-o", "podman", "cri", "systemd-nspawn", "other", "bpm"}

func enumName(names []EnumName, other string, v byte) string {
	for i := range names {
		if names[i].Value == v {
			return names[i].Name
		}
	}
	return other
}
