package replay

import "github.com/shikra-sensor/shikra/sensor/internal/event"

// conversion says how an event of an older sensor becomes one of today's. Parameters that both types call the same are
// kept; what only the enter event knew is named in enter. Rules for an edit: one line for an exit (or for an event
// without a pair) that needs one; a type that isn't here passes as it is if today's sensors make it, and is skipped
// otherwise. Where the parameters went is told by falcosecurity/libs 0.25, userspace/libscap/engine/savefile/converter.
type conversion struct {
	from  event.Type
	to    event.Type // 0 is from
	enter string     // parameters taken from the enter event if the exit lacks them: "name" or "name=name in the enter"
	own   string     // parameters that changed their name: "name=name in from"
}

var conversions = [...]conversion{
	{from: event.GenericX, enter: "nativeID"},

	// Files.
	{from: event.SyscallOpenX, enter: "name flags mode"},
	{from: event.SyscallCreatX, enter: "name mode"},
	{from: event.SyscallOpenatX, to: event.SyscallOpenatV2X, enter: "dirfd name flags mode"},
	{from: event.SyscallOpenatV2X, enter: "dirfd name flags mode"},
	{from: event.SyscallOpenat2X, enter: "dirfd name flags mode resolve"},
	{from: event.SyscallCloseX, enter: "fd"},
	{from: event.SyscallReadX, enter: "fd size"},
	{from: event.SyscallWriteX, enter: "fd size"},
	{from: event.SyscallPreadX, enter: "fd size pos"},
	{from: event.SyscallPwriteX, enter: "fd size pos"},
	{from: event.SyscallReadvX, enter: "fd"},
	{from: event.SyscallWritevX, enter: "fd size"},
	{from: event.SyscallPreadvX, enter: "fd pos"},
	{from: event.SyscallPwritevX, enter: "fd size pos"},
	{from: event.SyscallLseekX, enter: "fd offset whence"},
	{from: event.SyscallLlseekX, enter: "fd offset whence"},
	{from: event.SyscallIoctlV2X, to: event.SyscallIoctlV3X, enter: "fd request"},
	{from: event.SyscallIoctlV3X, enter: "fd request argument"},
	{from: event.SyscallFcntlX, enter: "fd cmd"},
	{from: event.SyscallFstatX, enter: "fd"},
	{from: event.SyscallFchdirX, enter: "fd"},
	{from: event.SyscallFlockX, enter: "fd operation"},
	{from: event.SyscallGetdentsX, enter: "fd"},
	{from: event.SyscallGetdents64X, enter: "fd"},
	{from: event.SyscallAccessX, enter: "mode"},
	{from: event.SyscallMkdirX, to: event.SyscallMkdirV2X, enter: "path mode"},
	{from: event.SyscallMkdirV2X, enter: "mode"},
	{from: event.SyscallRmdirX, to: event.SyscallRmdirV2X, enter: "path"},
	{from: event.SyscallLinkX, to: event.SyscallLinkV2X, enter: "oldpath newpath"},
	{from: event.SyscallLinkatX, to: event.SyscallLinkatV2X, enter: "olddir oldpath newdir newpath"},
	{from: event.SyscallUnlinkX, to: event.SyscallUnlinkV2X, enter: "path"},
	{from: event.SyscallUnlinkatX, to: event.SyscallUnlinkatV2X, enter: "dirfd name"},
	{from: event.SyscallMountX, enter: "flags"},
	{from: event.SyscallUmountX, to: event.SyscallUmountV1X},
	{from: event.SyscallUmount2X, enter: "flags"},
	{from: event.SyscallSpliceX, enter: "fd_in fd_out size flags"},
	{from: event.SyscallSendfileX, enter: "out_fd in_fd size"},
	{from: event.SyscallCopyFileRangeX, enter: "fdin offin len"},
	{from: event.SyscallQuotactlX, enter: "cmd type id quota_fmt"},

	// File descriptors that aren't files.
	{from: event.SyscallDupX, to: event.SyscallDupV1X, enter: "oldfd=fd"},
	{from: event.SyscallEventfdX, enter: "initval flags"},
	{from: event.SyscallEventfd2X, enter: "initval"},
	{from: event.SyscallSignalfdX, enter: "fd mask flags"},
	{from: event.SyscallSignalfd4X, enter: "fd mask"},
	{from: event.SyscallTimerfdCreateX, enter: "clockid flags"},
	{from: event.SyscallInotifyInitX, enter: "flags"},
	{from: event.SyscallEpollCreateX, enter: "size"},
	{from: event.SyscallEpollCreate1X, enter: "flags"},
	{from: event.SyscallEpollwaitX, enter: "maxevents"},
	{from: event.SyscallPollX, enter: "fds timeout"},
	{from: event.SyscallPpollX, enter: "fds timeout sigmask"},
	{from: event.SyscallNewselectX, to: event.SyscallSelectX},

	// Sockets.
	{from: event.SocketSocketX, enter: "domain type proto"},
	{from: event.SocketSocketpairX, enter: "domain type proto"},
	{from: event.SocketBindX, enter: "fd"},
	{from: event.SocketConnectX, enter: "fd addr"},
	{from: event.SocketListenX, enter: "fd backlog"},
	{from: event.SocketAcceptX, to: event.SocketAcceptV5X},
	{from: event.SocketAccept4X, to: event.SocketAccept4V6X, enter: "flags"},
	{from: event.SocketAccept4V5X, to: event.SocketAccept4V6X, enter: "flags"},
	{from: event.SocketAccept4V6X, enter: "flags"},
	{from: event.SocketShutdownX, enter: "fd how"},
	{from: event.SocketSendX, enter: "fd size"},
	{from: event.SocketSendtoX, enter: "fd size tuple"},
	{from: event.SocketSendmsgX, enter: "fd size tuple"},
	{from: event.SocketRecvX, enter: "fd size"},
	{from: event.SocketRecvfromX, enter: "fd size"},
	{from: event.SocketRecvmsgX, enter: "fd"},

	// Processes. The versions of execve and clone differ in what they appended, so that names say it all; only the
	// latest two enters of execve have anything to tell.
	{from: event.SyscallExecveV8X, to: event.SyscallExecveV19X},
	{from: event.SyscallExecveV13X, to: event.SyscallExecveV19X},
	{from: event.SyscallExecveV14X, to: event.SyscallExecveV19X},
	{from: event.SyscallExecveV15X, to: event.SyscallExecveV19X},
	{from: event.SyscallExecveV16X, to: event.SyscallExecveV19X},
	{from: event.SyscallExecveV17X, to: event.SyscallExecveV19X},
	{from: event.SyscallExecveV18X, to: event.SyscallExecveV19X, enter: "filename"},
	{from: event.SyscallExecveV19X, enter: "filename"},
	{from: event.SyscallCloneV11X, to: event.SyscallCloneV20X},
	{from: event.SyscallCloneV16X, to: event.SyscallCloneV20X},
	{from: event.SyscallCloneV17X, to: event.SyscallCloneV20X},
	{from: event.SyscallForkX, to: event.SyscallForkV20X},
	{from: event.SyscallForkV17X, to: event.SyscallForkV20X},
	{from: event.SyscallVforkX, to: event.SyscallVforkV20X},
	{from: event.SyscallVforkV17X, to: event.SyscallVforkV20X},
	{from: event.ProcexitE, to: event.ProcexitV1E},
	{from: event.SchedswitchV1E, to: event.SchedswitchV6E},
	{from: event.SyscallKillX, enter: "pid sig"},
	{from: event.SyscallTkillX, enter: "tid sig"},
	{from: event.SyscallTgkillX, enter: "pid tid sig"},
	{from: event.SyscallPtraceX, enter: "request pid"},
	{from: event.SyscallNanosleepX, enter: "interval"},
	{from: event.SyscallFutexX, enter: "addr op val"},
	{from: event.SyscallSemopX, enter: "semid"},
	{from: event.SyscallSemctlX, enter: "semid semnum cmd val"},
	{from: event.SyscallSemgetX, enter: "key nsems semflg"},
	{from: event.SyscallGetrlimitX, enter: "resource"},
	{from: event.SyscallSetrlimitX, enter: "resource"},
	{from: event.SyscallPrlimitX, enter: "pid resource"},
	{from: event.SyscallSetresuidX, enter: "ruid euid suid"},
	{from: event.SyscallSetresgidX, enter: "rgid egid sgid"},
	{from: event.SyscallSetuidX, enter: "uid"},
	{from: event.SyscallSetgidX, enter: "gid"},
	{from: event.SyscallSetpgidX, enter: "pid pgid"},
	{from: event.SyscallSetnsX, enter: "fd nstype"},
	{from: event.SyscallUnshareX, enter: "flags"},
	{from: event.SyscallSeccompX, enter: "op flags"},
	{from: event.SyscallBpfX, to: event.SyscallBpfV2X, enter: "cmd", own: "fd=res_or_fd"},

	// Memory. What the first brk called size is the new end of the heap, cut to 32 bits, and no use.
	{from: event.SyscallBrkV1X, to: event.SyscallBrkV4X},
	{from: event.SyscallBrkV4X, enter: "addr"},
	{from: event.SyscallMmapX, enter: "addr length prot flags fd offset"},
	{from: event.SyscallMmap2X, enter: "addr length prot flags fd pgoffset"},
	{from: event.SyscallMunmapX, enter: "addr length"},
	{from: event.SyscallMprotectX, enter: "addr length prot"},

	// Containers. The first form had no JSON: containerJSON makes it.
	{from: event.ContainerE, to: event.ContainerJsonV2E},
	{from: event.ContainerJsonE, to: event.ContainerJsonV2E},
}
