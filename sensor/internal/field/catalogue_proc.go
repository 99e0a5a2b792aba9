package field

import "github.com/shikra-sensor/shikra/wasmabi"

// procFields are the fields of threads and processes that stand in a thread record.
func procFields() []*Field {
	return []*Field{
		threadField("proc.name", String, str(wasmabi.ThreadComm), "Name of the process: the kernel's comm, at most 15 bytes."),
		threadField("proc.exe", String, str(wasmabi.ThreadExe), "First word of the command line (argv[0]), as the caller of exec chose it."),
		threadField("proc.exepath", String, str(wasmabi.ThreadExepath), "Absolute path of the executable."),
		threadField("proc.cmdline", String, pstr(wasmabi.ThreadCmdline), "Name and arguments with blanks between."),
		{
			Name: "proc.args", Type: String, Arg: ArgIndex, Optional: true,
			Read: Read{Base: Thread, Offset: wasmabi.ThreadArgline, Width: PStr},
			arg:  &Field{Compute: computeOneArg},
			Doc:  "Arguments after argv[0] with blanks between; with an index one of them, counted from 0.",
		},
		threadField("proc.cwd", String, str(wasmabi.ThreadCwd), "Current directory of the process."),
		threadField("proc.pid", Int, i64(wasmabi.ThreadPid), "Process id (the thread group's), in the host's pid namespace."),
		threadField("proc.ppid", Int, i64NotZero(wasmabi.ThreadPtid), "Process id of the parent process."),
		threadField("proc.vpid", Int, i64NotZero(wasmabi.ThreadVpid), "Process id in the process's own pid namespace."),
		parentField("proc.pvpid", Int, i64NotZero(wasmabi.ThreadVpid), "Process id of the parent in the parent's own pid namespace."),
		threadField("proc.sid", Int, i64(wasmabi.ThreadSid), "Session id."),
		threadField("proc.pgid", Int, i64(wasmabi.ThreadPgid), "Process group id, in the host's pid namespace."),
		threadField("proc.vpgid", Int, i64(wasmabi.ThreadVpgid), "Process group id in the process's own pid namespace."),
		threadField("proc.tty", Uint, u32(wasmabi.ThreadTty), "Device number of the controlling terminal, 0 for none."),
		threadField("proc.exe_ino", Int, u64NotZero(wasmabi.ThreadExeIno), "Inode number of the executable."),
		threadField("proc.exe_ino.ctime", AbsTime, u64NotZero(wasmabi.ThreadExeCtime), "When the executable's inode was last changed (ctime), in ns since the epoch."),
		threadField("proc.exe_ino.mtime", AbsTime, u64NotZero(wasmabi.ThreadExeMtime), "When the executable's bytes were last changed (mtime), in ns since the epoch."),
		threadField("proc.fdlimit", Int, i64(wasmabi.ThreadFdLimit), "How many fds the process may have open."),
		threadField("proc.is_exe_writable", Bool, threadFlag(wasmabi.ThreadExeWritable), "Whether the process's user may write to its executable."),
		threadField("proc.is_exe_upper_layer", Bool, threadFlag(wasmabi.ThreadExeUpperLayer), "Whether the executable lies in the upper layer of an overlay: it isn't from the container's image."),
		threadField("proc.is_exe_lower_layer", Bool, threadFlag(wasmabi.ThreadExeLowerLayer), "Whether the executable lies in a lower layer of an overlay."),
		threadField("proc.is_exe_from_memfd", Bool, threadFlag(wasmabi.ThreadExeFromMemfd), "Whether the executable is a memfd: a file that only memory holds."),

		parentField("proc.pname", String, str(wasmabi.ThreadComm), "Name of the parent process."),
		parentField("proc.pexe", String, str(wasmabi.ThreadExe), "First word of the parent's command line."),
		parentField("proc.pexepath", String, str(wasmabi.ThreadExepath), "Absolute path of the parent's executable."),
		parentField("proc.pcmdline", String, pstr(wasmabi.ThreadCmdline), "Name and arguments of the parent."),

		ancestorField("proc.aname", String, str(wasmabi.ThreadComm), "Name of an ancestor"),
		ancestorField("proc.aexe", String, str(wasmabi.ThreadExe), "First word of an ancestor's command line"),
		ancestorField("proc.aexepath", String, str(wasmabi.ThreadExepath), "Absolute path of an ancestor's executable"),
		ancestorField("proc.acmdline", String, pstr(wasmabi.ThreadCmdline), "Name and arguments of an ancestor"),
		ancestorField("proc.aargs", String, pstr(wasmabi.ThreadArgline), "Arguments of an ancestor"),
		ancestorField("proc.apid", Int, i64(wasmabi.ThreadPid), "Process id of an ancestor"),

		{
			Name: "thread.tid", Type: Int,
			Read: Read{Base: Event, Offset: wasmabi.EventTid, Width: I64},
			Doc:  "Thread id, in the host's pid namespace.",
		},
		threadField("thread.vtid", Int, i64NotZero(wasmabi.ThreadVtid), "Thread id in the thread's own pid namespace."),
		threadField("thread.ismain", Bool, threadFlag(wasmabi.ThreadMain), "Whether the thread is the main one of its process."),
		threadField("thread.cgroups", String, str(wasmabi.ThreadCgroups), "All cgroups of the thread, as subsystem=path with blanks between."),
	}
}

func parentField(name string, t Type, r Read, doc string) *Field {
	return &Field{Name: name, Type: t, Read: r.withBase(Parent), Doc: doc}
}

func ancestorField(name string, t Type, r Read, doc string) *Field {
	return &Field{Name: name, Type: t, Arg: ArgIndex, Optional: true, Read: r.withBase(Ancestor), Doc: doc +
		": 0 is the process itself, 1 its parent and so on. Without an index a test holds when it does for any ancestor from the parent up."}
}
