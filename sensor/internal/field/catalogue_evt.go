package field

import (
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// evtFields are the fields of the event itself, but for its parameters and times.
func evtFields() []*Field {
	hasResult := func(name string, t Type, r Read, doc string) *Field {
		r.Base = Event
		r.Guard, r.GuardAt, r.GuardWidth = wasmabi.BitResult, wasmabi.EventBits, U32
		return &Field{Name: name, Type: t, Read: r, Doc: doc}
	}
	bit := func(name string, mask uint64, doc string) *Field {
		return &Field{Name: name, Type: Bool, Read: eventBit(mask), Doc: doc}
	}
	failed := Read{Offset: wasmabi.EventBits, Width: U32, Mask: wasmabi.BitFailed}
	origin := func(name string, mask uint64, doc string) *Field {
		return &Field{Name: name, Type: Bool, Read: Read{Base: Event, Offset: wasmabi.EventOrigin, Width: U16, Mask: mask}, Doc: doc}
	}
	flag := func(name string, flags event.Flags, doc string) *Field {
		return computed(name, Bool, doc, func(_ *Ctx, e event.Event, _ *Ref, v *Value) {
			v.setBool(e.Type().Info().Flags&flags != 0)
		})
	}

	return []*Field{
		{
			Name: "evt.num", Type: Uint, Read: Read{Base: Event, Offset: wasmabi.EventNum, Width: U64},
			Doc: "Number of the event since the sensor started, counted from 1.",
		},
		computed("evt.type", String, "Name of the event: the system call's, or that of the tracepoint it comes from (procexit); unknown for a call by a number that nobody knows.", computeType),
		{
			Name: "evt.type.is", Type: Uint, Arg: ArgKey, Compute: computeTypeIs,
			Doc: "1 for events of the named type, 0 for others: evt.type.is.open.",
		},
		computed("syscall.type", String, "Name of the system call; missing for events that come from no system call.", computeSyscallType),
		computed("evt.dir", String, "Direction of the event: always <, since events are made when a call returns.", computeDir),
		computed("evt.category", String, "What the event's call acts on: file, net, ipc, memory, process, sleep, system, signal, user, time, processing, wait, other; for input and output that of the fd.", computeCategory),
		computed("evt.source", String, "Source of the event: syscall.", computeSource),
		{
			Name: "evt.cpu", Type: Int, Read: Read{Base: Event, Offset: wasmabi.EventCpu, Width: U16},
			Doc: "Number of the CPU on which it happened.",
		},
		computed("evt.hostname", String, "Name of the host.", computeHostname),
		computed("evt.is_async", Bool, "Whether the event was made by the sensor or a module, not by the kernel.", computeIsAsync),
		computed("evt.asynctype", String, "Name of an event that was made by the sensor or a module.", computeAsyncType),

		origin("evt.path_exact", wasmabi.OriginExact, "Whether the event's paths are the kernel's own copies of what the call was given (probe.exact_paths), and not read from the program's memory when the call ended."),
		origin("evt.is_io_uring", wasmabi.OriginIoUring, "Whether the event is of an operation that was made through an io_uring and stands for the call. False in a replay."),
		origin("evt.path_changed", wasmabi.OriginChanged, "Whether the program's memory held another path when the call ended than the one that the kernel took, which is the event's: an attempt to deceive whoever reads it there. Known where evt.path_exact is true."),
		origin("evt.file_exact", wasmabi.OriginOpened, "Whether device, inode and layer of an open are those of the file that the kernel opened, as its security function was asked (probe.exact_paths), and not those of what the fd stood for when the call ended."),
		origin("evt.file_changed", wasmabi.OriginOther, "Whether the fd that an open made stood for another file already when the call ended: another thread has put it there, which deceives whoever looks at the fd. Known where evt.file_exact is true; the event tells of the file that was opened."),

		hasResult("evt.rawres", Int, Read{Offset: wasmabi.EventRes, Width: I64}, "Result of the call as a number; negative is an error number."),
		computed("evt.res", String, "Result of the call: SUCCESS, or the error's name such as ENOENT.", computeRes),
		hasResult("evt.failed", Bool, failed, "Whether the call failed."),
		hasResult("evt.count.error", Uint, failed, "1 for calls that failed, 0 for others."),
		computed("evt.count.error.file", Uint, "1 for calls on files that failed, 0 for those that didn't.", computeErrorFile),
		computed("evt.count.error.net", Uint, "1 for calls on sockets that failed, 0 for those that didn't.", computeErrorNet),
		computed("evt.count.error.memory", Uint, "1 for calls on memory that failed, 0 for those that didn't.", computeErrorMemory),
		computed("evt.count.error.other", Uint, "1 for other calls that failed, 0 for those that didn't.", computeErrorOther),
		computed("evt.count", Uint, "Always 1, to be summed up.", computeOne),
		computed("evt.count.exit", Uint, "Always 1 as well, since events are made when a call returns.", computeOne),

		bit("evt.is_open_read", wasmabi.BitOpenRead, "Whether the call opened a file for reading."),
		bit("evt.is_open_write", wasmabi.BitOpenWrite, "Whether the call opened a file for writing."),
		bit("evt.is_open_exec", wasmabi.BitOpenExec, "Whether the call made a file with execute permission."),
		bit("evt.is_open_create", wasmabi.BitOpenCreate, "Whether the call made a file by opening it."),
		bit("evt.is_open_truncate", wasmabi.BitOpenTruncate, "Whether the call asked to empty the file (O_TRUNC), which happens even to one that is opened for reading. creat always does, and has no flags that say so."),
		bit("evt.targets_sensor", wasmabi.BitTargetsSensor, "Whether the event acts on the sensor itself, successfully or not: a signal to it, ptrace or memory access, a change to its files or to the folders they are in, its eBPF maps, programs and links. False in a replay."),
		bit("evt.targets_told", wasmabi.BitTargetsTold, "Whether evt.targets_sensor is true and the event of a security function (security_inode_unlink and its like) has told of the same act just before; or the same process gave the same bpf command about the same kind of object of the sensor's, as successfully, within the last 5 seconds. A rule alerts once on one act with evt.targets_told = false."),
		flag("evt.is_io", event.FlagReadsFd|event.FlagWritesFd, "Whether the call reads from or writes to an fd."),
		flag("evt.is_io_read", event.FlagReadsFd, "Whether the call reads from an fd."),
		flag("evt.is_io_write", event.FlagWritesFd, "Whether the call writes to an fd."),
		flag("evt.is_wait", event.FlagWaits, "Whether the call makes its thread wait."),
		computed("evt.io_dir", String, "Direction of input and output: read or write.", computeIODir),
		computed("evt.is_syslog", Bool, "Whether the call writes to the system log's socket, /dev/log.", computeIsSyslog),
	}
}
