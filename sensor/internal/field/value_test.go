package field

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The events of the table.
func (w *world) events(t *testing.T) map[string]event.Event {
	m := map[string]event.Event{}
	open := w.event(t, w.record(300, event.SyscallOpenatV2X).SetCPU(3).Int(3).Int(-100).String("../../etc/shadow").Int(1|0x1000).Int(0).Int(5).Int(4711).Done(), 300, 3)
	open.SetBits(wasmabi.BitOpenRead)
	m["open"] = open
	m["thread"] = w.event(t, w.record(301, event.SyscallReadX).Int(5).Bytes([]byte("a\x00b\"\n")).Int(3).Int(4096).Done(), 301, 3)
	m["socket"] = w.event(t, w.record(300, event.SocketConnectX).Int(-115).Bytes(append([]byte{2, 192, 0, 2, 1, 0x40, 0x9c, 192, 0, 2, 2}, 0xbb, 1)).Int(4).Bytes([]byte{2, 192, 0, 2, 2, 0xbb, 1}).Done(), 300, 4)
	m["listen"] = w.simple(t, event.SocketAccept4V6X, -11, 300, 5)
	m["unbound"] = w.simple(t, event.SocketBindX, -22, 300, 6)
	m["log"] = w.event(t, w.record(300, event.SyscallWriteX).Int(2).Bytes([]byte("hi")).Int(7).Int(2).Done(), 300, 7)
	m["dir"] = w.simple(t, event.SyscallGetdentsX, 0, 300, 8)
	m["root"] = w.simple(t, event.SyscallFchmodX, 0, 300, 9)
	m["failed"] = w.event(t, w.record(300, event.SyscallOpenX).Int(-2).String("/no/../such").Int(2).Int(0).Done(), 300, -1)
	m["box"] = w.event(t, w.record(400, event.SyscallSetuidX).Int(0).Int(33).Done(), 400, -1)
	m["pod"] = w.simple(t, event.SyscallChdirX, 0, 500, -1)
	m["init"] = w.simple(t, event.SyscallChdirX, 0, 1, -1)
	m["lost"] = w.simple(t, event.SyscallCloseX, 0, 999, -1) // its thread isn't known
	m["exit"] = w.event(t, w.record(300, event.ProcexitV1E).Int(0).Int(0).Int(9).Int(0).Int(1).Done(), 300, -1)
	m["generic"] = w.event(t, w.record(300, event.GenericX).Int(11).Int(201).Done(), 300, -1)
	m["native"] = w.event(t, w.record(300, event.GenericX).Int(2049).Int(472).Int(472).Int(-1).Int(255).Int(1<<31).Int(0).Int(0).Int(0).Int(-1).Done(), 300, -1)
	m["unknown"] = w.event(t, w.record(300, event.GenericX).Int(0).Int(500).Int(0x40000000|500).Int(0).Int(1).Int(2).Int(3).Int(4).Int(5).Int(6).Done(), 300, -1)
	m["rename"] = w.event(t, w.record(300, event.SyscallRenameat2X).Int(0).Int(8).String("a/./b").Int(-100).String("c").Int(0).Done(), 300, -1)
	m["swapped"] = w.event(t, w.record(300, event.SyscallOpenX).Int(3).String("/f").Int(1).Int(0).Int(5).Int(7).SetOrigin(wasmabi.OriginOpened|wasmabi.OriginOther).Done(), 300, 3)
	m["renamefail"] = w.event(t, w.record(300, event.SyscallRenameX).Int(-13).String("a").String("b").SetOrigin(wasmabi.OriginExact|wasmabi.OriginChanged|wasmabi.OriginIoUring).Done(), 300, -1)
	m["symlink"] = w.event(t, w.record(300, event.SyscallSymlinkatX).Int(0).String("../t").Int(55).String("l").Done(), 300, -1)
	m["linkfd"] = w.event(t, w.record(300, event.SyscallLinkatV2X).Int(0).Int(3).String("").Int(8).String("l").Int(0x1000).Done(), 300, -1)
	m["linkgone"] = w.event(t, w.record(300, event.SyscallLinkatV2X).Int(-2).Int(3).String("").Int(8).String("l").Int(0).Done(), 300, -1)
	m["chownfd"] = w.event(t, w.record(300, event.SyscallFchownatX).Int(0).Int(3).String("").Int(0).Int(0).Int(0x1000).Done(), 300, 3)
	m["chowncwd"] = w.event(t, w.record(300, event.SyscallFchownatX).Int(0).Int(-100).String("").Int(0).Int(0).Int(0x1000).Done(), 300, -1)
	m["xattrnull"] = w.event(t, w.record(300, event.SyscallSetxattratX).Int(0).Int(3).Missing().Int(0x1000).String("user.a").Done(), 300, -1)
	m["xattrfault"] = w.event(t, w.record(300, event.SyscallSetxattratX).Int(0).Int(8).Missing().Int(0x1000).String("user.a").Done(), 300, -1)
	m["poll"] = w.event(t, w.record(300, event.SyscallPollX).Int(1).Bytes([]byte{3, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0x41, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1, 0}).Int(10).Done(), 300, -1)
	m["async"] = w.event(t, w.record(300, event.AsynceventE).Int(1).String("container").Bytes(nil).Done(), 300, -1)
	return m
}

// Each field with what an output shows for it, by event.
var valueTests = []struct{ field, event, want string }{
	{"evt.num", "open", "1"},
	{"evt.type", "open", "openat"},
	{"evt.type", "exit", "procexit"},
	{"evt.type", "generic", "time"},
	{"evt.type", "async", "container"},
	{"evt.type", "native", "fchroot"},
	{"evt.type", "unknown", "unknown"},
	{"evt.type.is.fchroot", "native", "1"},
	{"evt.type.is.unknown", "native", "0"},
	{"evt.type.is.unknown", "unknown", "1"},
	{"syscall.type", "native", "fchroot"},
	{"evt.type.is.openat", "open", "1"},
	{"evt.type.is.open", "open", "0"},
	{"evt.type.is.time", "generic", "1"},
	{"syscall.type", "open", "openat"},
	{"syscall.type", "exit", "-"},
	{"evt.dir", "open", "<"},
	{"evt.category", "open", "file"},
	{"evt.category", "thread", "file"},
	{"evt.category", "log", "ipc"},
	{"evt.category", "socket", "net"},
	{"evt.category", "lost", "unknown"},
	{"evt.category", "exit", "process"},
	{"evt.source", "open", "syscall"},
	{"evt.cpu", "open", "3"},
	{"evt.hostname", "open", "gateway-1"},
	{"evt.is_async", "open", "false"},
	{"evt.is_async", "async", "true"},
	{"evt.asynctype", "open", "-"},
	{"evt.asynctype", "async", "container"},
	{"evt.is_io_uring", "open", "false"},
	{"evt.is_io_uring", "renamefail", "true"},
	{"evt.path_exact", "open", "false"},
	{"evt.path_exact", "renamefail", "true"},
	{"evt.path_changed", "open", "false"},
	{"evt.path_changed", "renamefail", "true"},
	{"evt.file_exact", "open", "false"},
	{"evt.file_exact", "swapped", "true"},
	{"evt.file_changed", "renamefail", "false"},
	{"evt.file_changed", "swapped", "true"},
	{"evt.rawres", "open", "3"},
	{"evt.rawres", "socket", "-115"},
	{"evt.rawres", "exit", "-"},
	{"evt.res", "open", "SUCCESS"},
	{"evt.res", "failed", "ENOENT"},
	{"evt.res", "exit", "-"},
	{"evt.rawres", "generic", "-"},
	{"evt.res", "generic", "-"},
	{"evt.rawres", "native", "-1"},
	{"evt.res", "native", "EPERM"},
	{"evt.failed", "native", "true"},
	{"evt.res", "unknown", "SUCCESS"},
	{"evt.failed", "open", "false"},
	{"evt.failed", "failed", "true"},
	{"evt.failed", "exit", "-"},
	{"evt.count", "open", "1"},
	{"evt.count.exit", "open", "1"},
	{"evt.count.error", "failed", "1"},
	{"evt.count.error", "open", "0"},
	{"evt.count.error.file", "failed", "1"},
	{"evt.count.error.file", "open", "0"},
	{"evt.count.error.file", "socket", "-"},
	{"evt.count.error.net", "socket", "1"},
	{"evt.count.error.net", "open", "-"},
	{"evt.count.error.memory", "open", "-"},
	{"evt.count.error.other", "renamefail", "1"},
	{"evt.count.error.other", "open", "-"},
	{"evt.is_open_read", "open", "true"},
	{"evt.is_open_write", "open", "false"},
	{"evt.is_open_exec", "open", "false"},
	{"evt.is_open_create", "exit", "false"},
	{"evt.is_open_truncate", "open", "false"},
	{"evt.targets_sensor", "open", "false"},
	{"evt.targets_told", "open", "false"},
	{"evt.is_io", "thread", "true"},
	{"evt.is_io", "open", "false"},
	{"evt.is_io_read", "thread", "true"},
	{"evt.is_io_write", "log", "true"},
	{"evt.is_wait", "poll", "true"},
	{"evt.io_dir", "thread", "read"},
	{"evt.io_dir", "log", "write"},
	{"evt.io_dir", "open", "-"},
	{"evt.is_syslog", "log", "true"},
	{"evt.is_syslog", "thread", "false"},

	{"evt.time", "open", "22:13:25.123456789"},
	{"evt.time.s", "open", "22:13:25"},
	{"evt.time.iso8601", "open", "2023-11-14T22:13:25.123456789+0000"},
	{"evt.datetime", "open", "2023-11-14 22:13:25.123456789"},
	{"evt.datetime.s", "open", "2023-11-14 22:13:25"},
	{"evt.outputtime", "open", "22:13:25.123456789"},
	{"evt.rawtime", "open", "1700000005123456789"},
	{"evt.rawtime.s", "open", "1700000005"},
	{"evt.rawtime.ns", "open", "123456789"},
	{"evt.reltime", "open", "4123456789"},
	{"evt.reltime.s", "open", "4"},
	{"evt.reltime.ns", "open", "123456789"},

	{"evt.args", "open", "fd=3(<f>/etc/shadow) dirfd=-100(AT_FDCWD) name=../../etc/shadow(/etc/shadow) flags=4097(O_RDONLY|O_CLOEXEC) mode=0 dev=5 ino=4711"},
	{"evt.args", "generic", ""},
	{"evt.args", "native", "nr=472 res=-1(EPERM) arg0=FF arg1=80000000 arg2=0 arg3=0 arg4=0 arg5=FFFFFFFFFFFFFFFF"},
	{"evt.arg.arg0", "native", "FF"},
	{"evt.rawarg.arg0", "native", "255"},
	{"evt.rawarg.arg5", "unknown", "6"},
	{"evt.arg.nr", "unknown", "1073742324"},
	{"evt.arg.ID", "native", "fchroot"},
	{"evt.arg.arg0", "generic", "<NA>"},
	{"evt.args", "exit", "status=0 ret=0 sig=9(SIGKILL) core=0 reaper_tid=1(systemd)"},
	{"evt.info", "box", "res=0 uid=33(www-data)"},
	{"evt.arg.fd", "open", "<f>/etc/shadow"},
	{"evt.arg.name", "open", "/etc/shadow"},
	{"evt.arg.flags", "open", "O_RDONLY|O_CLOEXEC"},
	{"evt.arg[1]", "open", "AT_FDCWD"},
	{"evt.arg.uid", "box", "www-data"},
	{"evt.arg.uid", "open", "-"},
	{"evt.arg.dev", "failed", "<NA>"},
	{"evt.arg.tuple", "socket", "192.0.2.1:40000->192.0.2.2:443"},
	{"evt.arg.addr", "socket", "192.0.2.2:443"},
	{"evt.arg.res", "socket", "EINPROGRESS"},
	{"evt.arg.data", "thread", "a.b\"."},
	{"evt.rawarg.flags", "open", "4097"},
	{"evt.rawarg.fd", "open", "3"},
	{"evt.rawarg.name", "open", "../../etc/shadow"},
	{"evt.rawarg.name", "box", "-"},
	{"evt.buffer", "thread", "a.b\"."},
	{"evt.buffer", "open", "-"},
	{"evt.buflen", "thread", "5"},
	{"evt.buflen", "open", "-"},
	{"evt.abspath", "open", "/etc/shadow"},
	{"evt.abspath", "rename", "/var/lib/app/a/b"},
	{"evt.abspath.src", "rename", "/var/lib/app/a/b"},
	{"evt.abspath.dst", "rename", "/home/admin/c"},
	{"evt.abspath.dst", "open", "-"},
	{"evt.abspath", "symlink", "<UNKNOWN>l"},

	{"proc.name", "open", "cat"},
	{"proc.name", "lost", "-"},
	{"proc.exe", "open", "cat"},
	{"proc.exepath", "open", "/usr/bin/cat"},
	{"proc.cmdline", "open", "cat -v /etc/shadow"},
	{"proc.args", "open", "-v /etc/shadow"},
	{"proc.args[1]", "open", "/etc/shadow"},
	{"proc.args[2]", "open", ""},
	{"proc.args[0]", "lost", "-"},
	{"proc.exeline", "open", "cat -v /etc/shadow"},
	{"proc.cwd", "open", "/home/admin"},
	{"proc.pid", "thread", "300"},
	{"proc.ppid", "open", "200"},
	{"proc.ppid", "init", "-"},
	{"proc.vpid", "box", "7"},
	{"proc.pvpid", "box", "1"},
	{"proc.sid", "open", "200"},
	{"proc.pgid", "open", "300"},
	{"proc.vpgid", "open", "300"},
	{"proc.tty", "open", "34816"},
	{"proc.exe_ino", "open", "99"},
	{"proc.exe_ino.ctime", "open", "1700000000999999750"},
	{"proc.exe_ino.mtime", "open", "1699999999999999000"},
	{"proc.exe_ino.ctime_duration_proc_start", "open", "250"},
	{"proc.exe_ino.ctime_duration_pidns_start", "open", "750"},
	{"proc.pidns_init_start_ts", "open", "1700000000999999000"},
	{"proc.fdlimit", "open", "1024"},
	{"proc.fdopencount", "open", "8"},
	{"proc.fdusage", "open", "0"},
	{"proc.nthreads", "open", "3"},
	{"proc.nchilds", "open", "2"},
	{"proc.vmsize", "open", "30"},
	{"proc.vmrss", "open", "40"},
	{"proc.vmswap", "open", "50"},
	{"thread.vmsize", "open", "30"},
	{"thread.vmrss", "open", "40"},
	{"thread.pfmajor", "open", "1"},
	{"thread.pfminor", "open", "2"},
	{"proc.is_exe_writable", "open", "false"},
	{"proc.is_exe_upper_layer", "open", "true"},
	{"proc.is_exe_lower_layer", "open", "false"},
	{"proc.is_exe_from_memfd", "open", "false"},
	{"proc.pname", "open", "bash"},
	{"proc.pname", "thread", "bash"},
	{"proc.pname", "init", "-"},
	{"proc.pexe", "open", "-bash"},
	{"proc.pexepath", "open", "/usr/bin/bash"},
	{"proc.pcmdline", "open", "bash -l"},
	{"proc.aname", "open", "bash sshd systemd"},
	{"proc.aname", "init", "-"},
	{"proc.aname[0]", "thread", "cat"},
	{"proc.aname[1]", "open", "bash"},
	{"proc.aname[3]", "open", "systemd"},
	{"proc.aname[4]", "open", "-"},
	{"proc.aexe[2]", "open", "sshd: admin"},
	{"proc.aexepath[2]", "open", "/usr/sbin/sshd"},
	{"proc.acmdline[1]", "open", "bash -l"},
	{"proc.aargs[1]", "open", "-l"},
	{"proc.apid", "open", "300"},
	{"proc.apid[2]", "open", "100"},
	{"proc.aenv[HOME]", "open", "/home/bash"},
	{"proc.aenv[2]", "open", "HOME=/home/sshd LANG= C  EMPTY="},
	{"proc.env", "open", "HOME=/home/cat LANG= C  EMPTY="},
	{"proc.env[HOME]", "open", "/home/cat"},
	{"proc.env[LANG]", "open", "C"},
	{"proc.env[HOM]", "open", ""},
	{"proc.env[HOME]", "lost", "-"},
	{"proc.cmdnargs", "open", "2"},
	{"proc.cmdlenargs", "open", "13"},
	{"proc.loginshellid", "open", "200"},
	{"proc.loginshellid", "init", "-"},
	{"proc.duration", "open", "4123456789"},
	{"proc.ppid.duration", "open", "4123456789"},
	{"proc.pid.ts", "open", "1700000001000000000"},
	{"proc.ppid.ts", "init", "-"},
	{"proc.sname", "open", "bash"},
	{"proc.sid.exe", "open", "-bash"},
	{"proc.sid.exepath", "open", "/usr/bin/bash"},
	{"proc.sname", "box", "nginx"},
	{"proc.pgid.name", "open", "cat"},
	{"proc.pgid.exe", "thread", "-bash"},
	{"proc.pgid.exepath", "thread", "/usr/bin/bash"},
	{"proc.vpgid.name", "thread", "bash"},
	{"proc.vpgid.exe", "thread", "-bash"},
	{"proc.vpgid.exepath", "thread", "/usr/bin/bash"},
	{"proc.is_sid_leader", "open", "false"},
	{"proc.is_sid_leader", "box", "true"},
	{"proc.is_vpgid_leader", "open", "true"},
	{"proc.is_vpgid_leader", "thread", "false"},
	{"proc.is_pgid_leader", "open", "true"},
	{"proc.stdin.type", "open", "directory"},
	{"proc.stdin.name", "open", "/dev"},
	{"proc.stdout.type", "open", "-"},
	{"proc.stdout.name", "open", "-"},
	{"proc.stderr.type", "open", "-"},
	{"proc.stderr.name", "box", "-"},
	{"thread.tid", "thread", "301"},
	{"thread.tid", "lost", "999"},
	{"thread.vtid", "box", "7"},
	{"thread.ismain", "thread", "false"},
	{"thread.ismain", "open", "true"},
	{"thread.cap_effective", "open", "CAP_CHOWN CAP_SYS_ADMIN"},
	{"thread.cap_permitted", "open", ""},
	{"thread.cap_inheritable", "lost", "-"},
	{"thread.cgroups", "open", "cpu=/a memory=/b/c"},
	{"thread.cgroup.memory", "open", "/b/c"},
	{"thread.cgroup.mem", "open", "-"},

	{"fd.num", "open", "3"},
	{"fd.num", "failed", "-1"},
	{"fd.num", "box", "-"},
	{"fd.type", "open", "file"},
	{"fd.type", "dir", "directory"},
	{"fd.type", "listen", "ipv6"},
	{"fd.type", "failed", "-"},
	{"fd.typechar", "open", "f"},
	{"fd.typechar", "log", "u"},
	{"fd.name", "open", "/etc/shadow"},
	{"fd.name", "socket", "192.0.2.1:40000->192.0.2.2:443"},
	{"fd.directory", "open", "/etc"},
	{"fd.directory", "root", "/"},
	{"fd.directory", "dir", "/var/lib/app"},
	{"fd.directory", "log", "-"},
	{"fd.filename", "open", "shadow"},
	{"fd.filename", "root", "swap"},
	{"fd.filename", "dir", "-"},
	{"fd.nameraw", "open", "../etc/shadow"},
	{"fd.nameraw", "root", "/swap"},
	{"fd.cip", "socket", "192.0.2.1"},
	{"fd.cip", "listen", "-"},
	{"fd.cip", "unbound", "-"},
	{"fd.cip", "open", "-"},
	{"fd.sip", "socket", "192.0.2.2"},
	{"fd.sip", "listen", "::1"},
	{"fd.sip", "unbound", "-"},
	{"fd.cnet", "socket", "192.0.2.1"},
	{"fd.snet", "socket", "192.0.2.2"},
	{"fd.cport", "socket", "40000"},
	{"fd.cport", "listen", "-"},
	{"fd.sport", "socket", "443"},
	{"fd.sport", "listen", "8080"},
	{"fd.ip", "socket", "192.0.2.1"},
	{"fd.ip", "listen", "::1"},
	{"fd.net", "listen", "::1"},
	{"fd.port", "listen", "8080"},
	{"fd.proto", "socket", "40000"},
	{"fd.lip", "socket", "192.0.2.1"},
	{"fd.rip", "socket", "192.0.2.2"},
	{"fd.lip", "listen", "-"},
	{"fd.lnet", "socket", "192.0.2.1"},
	{"fd.rnet", "socket", "192.0.2.2"},
	{"fd.lport", "socket", "40000"},
	{"fd.rport", "socket", "443"},
	{"fd.cproto", "socket", "40000"},
	{"fd.sproto", "listen", "8080"},
	{"fd.lproto", "socket", "40000"},
	{"fd.rproto", "socket", "443"},
	{"fd.l4proto", "socket", "tcp"},
	{"fd.l4proto", "open", "<NA>"},
	{"fd.sockfamily", "socket", "ip"},
	{"fd.sockfamily", "log", "unix"},
	{"fd.sockfamily", "open", "-"},
	{"fd.is_server", "socket", "false"},
	{"fd.is_server", "listen", "true"},
	{"fd.connected", "socket", "true"},
	{"fd.connected", "listen", "false"},
	{"fd.name_changed", "socket", "false"},
	{"fd.uid", "socket", "3004"},
	{"fd.containername", "open", "host:/etc/shadow"},
	{"fd.containerdirectory", "open", "host:/etc"},
	{"fd.containerdirectory", "log", "-"},
	{"fd.dev", "open", "10FD03"},
	{"fd.dev.major", "open", "253"},
	{"fd.dev.minor", "open", "259"},
	{"fd.ino", "open", "4711"},
	{"fd.ino", "dir", "-"},
	{"fd.is_upper_layer", "open", "false"},
	{"fd.is_lower_layer", "open", "true"},
	{"fd.types", "open", "(directory,file,ipv4,ipv6,unix)"},
	{"fd.types", "lost", "-"},
	{"fd.types[4]", "open", "(ipv4)"},
	{"fd.cip.name", "socket", "-"},
	{"fd.sip.name", "socket", "-"},
	{"fd.lip.name", "socket", "-"},
	{"fd.rip.name", "socket", "-"},

	{"fdlist.nums", "poll", "3,4,77"},
	{"fdlist.nums", "open", "-"},
	{"fdlist.names", "poll", "/etc/shadow,192.0.2.1:40000->192.0.2.2:443,<NA>"},
	{"fdlist.cips", "poll", "192.0.2.1"},
	{"fdlist.sips", "poll", "192.0.2.2"},
	{"fdlist.cports", "poll", "40000"},
	{"fdlist.sports", "poll", "443"},

	{"fs.path.name", "open", "/etc/shadow"},
	{"fs.path.name", "failed", "/such"},
	{"fs.path.nameraw", "failed", "/no/../such"},
	{"fs.path.name", "root", "/swap"},
	{"fs.path.nameraw", "root", "/swap"},
	{"fs.path.name", "rename", "-"},
	{"fs.path.source", "rename", "/var/lib/app/a/b"},
	{"fs.path.sourceraw", "rename", "a/./b"},
	{"fs.path.target", "rename", "/home/admin/c"},
	{"fs.path.targetraw", "rename", "c"},
	{"fs.path.source", "renamefail", "-"},
	{"fs.path.source", "symlink", "<UNKNOWN>l"},
	{"fs.path.target", "symlink", "/home/t"},
	{"fs.path.target", "linkfd", "/etc/shadow"},
	{"fs.path.targetraw", "linkfd", ""},
	{"fs.path.source", "linkfd", "/var/lib/app/l"},
	{"evt.abspath", "linkfd", "/etc/shadow"},
	{"fs.path.target", "linkgone", "-"},
	{"evt.abspath", "linkgone", "-"},
	{"fs.path.name", "chownfd", "/etc/shadow"},
	{"fs.path.name", "chowncwd", "/home/admin"},
	{"fs.path.name", "xattrnull", "/etc/shadow"},
	{"fs.path.name", "xattrfault", "-"},

	{"user.uid", "open", "1000"},
	{"user.name", "open", "admin"},
	{"user.homedir", "open", "/home/admin"},
	{"user.shell", "open", "/bin/bash"},
	{"user.loginuid", "open", "-1"},
	{"user.loginname", "open", "<NA>"},
	{"group.gid", "open", "100"},
	{"group.name", "open", "users"},

	{"container.id", "open", "host"},
	{"container.id", "box", "0123456789ab"},
	{"container.id", "lost", "-"},
	{"container.full_id", "box", "0123456789abcdef"},
	{"container.full_id", "open", "-"},
	{"container.name", "open", "host"},
	{"container.name", "box", "-"},
	{"container.owner", "open", "-"},
	{"container.owner", "box", "user:1000"},
	{"container.owner", "pod", "system"},
	{"container.owner", "lost", "-"},
	{"container.type", "open", "host"},
	{"container.type", "box", "containerd"},
	{"container.type", "lost", "-"},
	{"container.image", "box", "-"},
	{"container.image.id", "box", "-"},
	{"container.image.repository", "box", "-"},
	{"container.image.tag", "box", "-"},
	{"container.image.digest", "box", "-"},
	{"container.privileged", "box", "-"},
	{"container.mounts", "box", "-"},
	{"container.mount[0]", "box", "-"},
	{"container.mount.source[/etc]", "box", "-"},
	{"container.mount.dest[/proc*]", "box", "-"},
	{"container.mount.mode[0]", "box", "-"},
	{"container.mount.rdwr[0]", "box", "-"},
	{"container.mount.propagation[0]", "box", "-"},
	{"container.start_ts", "box", "1700000000999999000"},
	{"container.start_ts", "lost", "-"},
	{"container.duration", "box", "4123457789"},
	{"container.duration", "lost", "-"},
	{"container.ip", "box", "-"},
	{"container.ip", "open", "-"},
	{"container.ip", "pod", "192.0.2.9"},
	{"container.id", "pod", "fedcba987654"},
	{"container.name", "pod", "app"},
	{"container.type", "pod", "cri"},
	{"container.image", "pod", "example.com/app:1.2"},
	{"container.image.id", "pod", "11"},
	{"container.image.repository", "pod", "example.com/app"},
	{"container.image.tag", "pod", "1.2"},
	{"container.image.digest", "pod", "sha256:00"},
	{"container.privileged", "pod", "true"},
	{"container.privileged", "open", "-"},
	{"container.host_pid", "pod", "false"},
	{"container.host_network", "pod", "false"},
	{"container.host_ipc", "pod", "true"},
	{"container.host_ipc", "box", "-"},
	{"container.mounts", "pod", "/srv/data:/data:z:true:rprivate,/proc:/host/proc::false:rslave"},
	{"container.mount[0]", "pod", "/srv/data:/data:z:true:rprivate"},
	{"container.mount[2]", "pod", "-"},
	{"container.mount[/proc]", "pod", "/proc:/host/proc::false:rslave"},
	{"container.mount[/s*]", "pod", "/srv/data:/data:z:true:rprivate"},
	{"container.mount[/data]", "pod", "-"},
	{"container.mount.source[1]", "pod", "/proc"},
	{"container.mount.source[/host/proc*]", "pod", "/proc"},
	{"container.mount.dest[/proc*]", "pod", "/host/proc"},
	{"container.mount.dest[/etc*]", "pod", "-"},
	{"container.mount.mode[0]", "pod", "z"},
	{"container.mount.rdwr[0]", "pod", "true"},
	{"container.mount.rdwr[/proc]", "pod", "false"},
	{"container.mount.propagation[1]", "pod", "rslave"},
	{"container.label[team]", "pod", "core"},
	{"container.label.app.example.com/part", "pod", "front"},
	{"container.label[tea]", "pod", "-"},
	{"container.label[team]", "box", "-"},
	{"container.labels", "pod", "app.example.com/part:front, team:core"},
	{"container.labels", "open", "-"},
	{"container.cni.json", "pod", `{"eth0":{}}`},
	{"k8s.ns.name", "pod", "shop"},
	{"k8s.ns.name", "box", "-"},
	{"k8s.pod.name", "pod", "app-0"},
	{"k8s.pod.name", "box", "-"},
	{"k8s.pod.uid", "pod", "3e41dc6b"},
	{"k8s.pod.uid", "box", "-"},
	{"k8s.pod.id", "pod", "3e41dc6b"},
	{"k8s.pod.sandbox_id", "pod", "0123456789ab"},
	{"k8s.pod.sandbox_id", "box", "-"},
	{"k8s.pod.full_sandbox_id", "pod", podInfo.SandboxID},
	{"k8s.pod.ip", "pod", "192.0.2.9"},
	{"k8s.pod.label.tier", "pod", "gold"},
	{"k8s.pod.label[team]", "pod", "-"},
	{"k8s.pod.labels", "pod", "tier:gold"},
	{"k8s.pod.cni.json", "pod", `{"eth0":{}}`},

	{"container.healthcheck", "pod", "-"},
	{"container.liveness_probe", "pod", "-"},
	{"container.readiness_probe", "pod", "-"},
	{"proc.is_container_healthcheck", "pod", "-"},
	{"proc.is_container_liveness_probe", "pod", "-"},
	{"proc.is_container_readiness_probe", "pod", "-"},
	{"k8s.ns.id", "pod", "-"},
	{"k8s.ns.label[a]", "pod", "-"},
	{"k8s.ns.labels", "pod", "-"},
	{"k8s.rc.name", "pod", "-"},
	{"k8s.rc.id", "pod", "-"},
	{"k8s.rc.label.a", "pod", "-"},
	{"k8s.rc.labels", "pod", "-"},
	{"k8s.svc.name", "pod", "-"},
	{"k8s.svc.id", "pod", "-"},
	{"k8s.svc.label[a]", "pod", "-"},
	{"k8s.svc.labels", "pod", "-"},
	{"k8s.rs.name", "pod", "-"},
	{"k8s.rs.id", "pod", "-"},
	{"k8s.rs.label[a]", "pod", "-"},
	{"k8s.rs.labels", "pod", "-"},
	{"k8s.deployment.name", "pod", "-"},
	{"k8s.deployment.id", "pod", "-"},
	{"k8s.deployment.label[a]", "pod", "-"},
	{"k8s.deployment.labels", "pod", "-"},
}

func TestValues(t *testing.T) {
	w := newWorld(t)
	events := w.events(t)
	tested := map[string]bool{}
	for _, tt := range valueTests {
		e, ok := events[tt.event]
		if !ok {
			t.Fatalf("no event %s", tt.event)
		}
		tested[ref(t, tt.field).Name] = true
		if got := w.show(t, tt.field, e); got != tt.want {
			t.Errorf("%s of %s = %q, want %q", tt.field, tt.event, got, tt.want)
		}
	}
	for _, f := range All() {
		if !tested[f.Name] {
			t.Errorf("%s isn't tested", f.Name)
		}
	}
}

// A column holds what Get gives, whichever way a field is read; JSON of it is valid; Each gives at least what Get does.
func TestWaysAgree(t *testing.T) {
	w := newWorld(t)
	events := w.events(t)
	// Its events' parameters stay valid: columns and payload of the same batch.
	for _, tt := range valueTests {
		r, e := ref(t, tt.field), events[tt.event]
		var v Value
		r.Get(w.c, e, &v)
		kind, num, text := v.Kind, v.Int, string(v.Bytes)

		n := 0
		r.Each(w.c, e, func(x *Value) bool {
			if n++; n == 1 && (x.Kind != kind || x.Int != num || string(x.Bytes) != text) {
				t.Errorf("%s of %s: Each begins with %+v, Get gives %+v", tt.field, tt.event, *x, v)
			}
			return true
		})
		if (n > 0) != v.OK() {
			t.Errorf("%s of %s: Each gave %d values, Get has one: %v", tt.field, tt.event, n, v.OK())
		}

		if !r.List {
			if !r.Extract(w.c, e, w.a.Batch, 5, 9) {
				t.Fatalf("%s: no room", tt.field)
			}
			k, i, s := cell(w.a, 5, 9)
			if k != uint32(kind) || k == wasmabi.CellInt && i != num || k == wasmabi.CellBytes && s != text {
				t.Errorf("%s of %s: column has %d %d %q, Get %d %d %q", tt.field, tt.event, k, i, s, kind, num, text)
			}
		}

		js := r.AppendJSON(w.c, e, nil)
		if !json.Valid(js) {
			t.Errorf("%s of %s: bad JSON %s", tt.field, tt.event, js)
		}
		if (string(js) == "null") != (tt.want == "-") && !r.List {
			t.Errorf("%s of %s: JSON %s for %q", tt.field, tt.event, js, tt.want)
		}
	}
}

// cell reads a column's cell as a guest does.
func cell(a *arena.Arena, col, i int) (kind uint32, n uint64, s string) {
	b := segment(a)
	c := b[int(arena.Column(col))+i*wasmabi.CellSize:]
	kind, n = le.Uint32(c), le.Uint64(c[wasmabi.CellVal:])
	if kind == wasmabi.CellBytes {
		s = string(b[n : n+uint64(le.Uint32(c[wasmabi.CellLen:]))])
	}
	return kind, n, s
}

func TestListColumn(t *testing.T) {
	w := newWorld(t)
	e := w.simple(t, event.SyscallCloseX, 0, 300, 3)
	r := ref(t, "fd.types")
	r.Extract(w.c, e, w.a.Batch, 0, 0)
	if _, _, s := cell(w.a, 0, 0); s != "directory\x00file\x00ipv4\x00ipv6\x00unix\x00" {
		t.Errorf("column %q", s)
	}
	if js := string(r.AppendJSON(w.c, e, nil)); js != `["directory","file","ipv4","ipv6","unix"]` {
		t.Errorf("JSON %s", js)
	}
}

func TestExtractNoRoom(t *testing.T) {
	w := newWorld(t)
	e := w.simple(t, event.SyscallCloseX, 0, 300, 3)
	for w.a.Batch.Room() > 8 {
		w.a.Batch.SetBytes(1, 0, make([]byte, min(w.a.Batch.Room(), 60000)))
	}
	r := ref(t, "proc.cmdline")
	if r.Extract(w.c, e, w.a.Batch, 0, 0) {
		t.Error("Extract found room where there is none")
	}
	if k, _, _ := cell(w.a, 0, 0); k != wasmabi.CellMissing {
		t.Errorf("the cell is %d, not missing", k)
	}
}

func TestEach(t *testing.T) {
	w := newWorld(t)
	events := w.events(t)
	all := func(field, event string, limit int) string {
		var out []string
		r := ref(t, field)
		stopped := r.Each(w.c, events[event], func(v *Value) bool {
			out = append(out, string(r.appendValue(nil, v)))
			return len(out) < limit
		})
		if stopped != (len(out) == limit) {
			t.Errorf("%s: stopped = %v after %d", field, stopped, len(out))
		}
		return strings.Join(out, " ")
	}
	for _, tt := range []struct {
		field, event string
		limit        int
		want         string
	}{
		{"proc.aname", "open", 9, "bash sshd systemd"},
		{"proc.aname", "open", 2, "bash sshd"},
		{"proc.apid", "thread", 9, "200 100 1"},
		{"proc.aname[1]", "open", 9, "bash"},
		{"fd.ip", "socket", 9, "192.0.2.1 192.0.2.2"},
		{"fd.ip", "socket", 1, "192.0.2.1"},
		{"fd.port", "socket", 9, "40000 443"},
		{"fd.port", "listen", 9, "8080"},
		{"fd.net", "unbound", 9, ""},
		{"fd.types", "open", 2, "directory file"},
		{"fd.ip", "box", 9, ""},
	} {
		if got := all(tt.field, tt.event, tt.limit); got != tt.want {
			t.Errorf("%s of %s: %q, want %q", tt.field, tt.event, got, tt.want)
		}
	}
}

// A chain of parents that leads back to itself ends.
func TestAncestorsBounded(t *testing.T) {
	w := newWorld(t)
	e := w.simple(t, event.SyscallChdirX, 0, 300, -1)
	le.PutUint32(w.a.Threads.Record(w.threads[1])[wasmabi.ThreadParent:], w.threads[300])
	n := 0
	r := ref(t, "proc.apid")
	r.Each(w.c, e, func(*Value) bool { n++; return true })
	if n != MaxAncestors {
		t.Errorf("%d ancestors, want %d", n, MaxAncestors)
	}
	for _, f := range []string{"proc.aname", "proc.loginshellid", "proc.sname", "proc.aenv[NONE]", "proc.aname[128]"} {
		w.show(t, f, e)
	}
}

// Without State, and for events that say nothing, every field answers.
func TestNoState(t *testing.T) {
	w := newWorld(t)
	events := w.events(t)
	w.c.State = nil
	for _, e := range events {
		for _, tt := range valueTests {
			w.show(t, tt.field, e)
		}
	}
	if got := w.show(t, "evt.args", events["rename"]); got != "res=0 olddirfd=8 oldpath=a/./b newdirfd=-100(AT_FDCWD) newpath=c(/home/admin/c) flags=0" {
		t.Errorf("evt.args without State: %s", got)
	}
	if got := w.show(t, "evt.args", events["box"]); got != "res=0 uid=33(<NA>)" {
		t.Errorf("evt.args without State: %s", got)
	}
}

// What a program puts in a name neither breaks a line of text nor the JSON.
func TestHostileNames(t *testing.T) {
	w := newWorld(t)
	w.file(t, 10, 'f', "/tmp/a\nb\x1b[31m\"\\\xff\x7f\u00e9")
	e := w.simple(t, event.SyscallCloseX, 0, 300, 10)
	if got := w.show(t, "fd.name", e); got != "/tmp/a.b.[31m\"\\\xff.\u00e9" {
		t.Errorf("text %q", got)
	}
	r := ref(t, "fd.name")
	js := r.AppendJSON(w.c, e, nil)
	var s string
	if err := json.Unmarshal(js, &s); err != nil || s != "/tmp/a\nb\x1b[31m\"\\\ufffd\x7f\u00e9" {
		t.Errorf("JSON %s: %q, %v", js, s, err)
	}
}

func TestJSON(t *testing.T) {
	w := newWorld(t)
	events := w.events(t)
	for _, tt := range []struct{ field, event, want string }{
		{"evt.time", "open", "1700000005123456789"},
		{"evt.time.iso8601", "open", "1700000005123456789"},
		{"evt.rawtime.ns", "open", "123456789"},
		{"evt.rawres", "socket", "-115"},
		{"evt.failed", "socket", "true"},
		{"proc.name", "lost", "null"},
		{"proc.pid", "open", "300"},
		{"proc.aname", "open", `"bash sshd systemd"`},
		{"proc.aname", "init", "null"},
		{"proc.apid", "open", "300"},
		{"fd.sip", "socket", `"192.0.2.2"`},
		{"fd.sport", "socket", "443"},
		{"fd.dev", "open", `"10FD03"`},
		{"evt.buffer", "thread", `"a.b\"."`},
		{"user.loginuid", "open", "-1"},
	} {
		r := ref(t, tt.field)
		if got := string(r.AppendJSON(w.c, events[tt.event], []byte("x"))); got != "x"+tt.want {
			t.Errorf("%s of %s: %s, want %s", tt.field, tt.event, got[1:], tt.want)
		}
	}
}

func TestAllocs(t *testing.T) {
	w := newWorld(t)
	events := w.events(t)
	buf := make([]byte, 0, 4096)
	for _, f := range []string{
		"proc.name", "proc.cmdline", "proc.pname", "proc.aname[2]", "proc.aname", "fd.name", "fd.directory", "fd.filename", "fd.cip", "fd.ip",
		"fd.port", "fd.typechar", "fd.type", "evt.num", "evt.rawres", "evt.failed", "container.id", "user.name", "user.loginuid", "evt.type", "evt.args",
		"evt.arg.flags", "evt.arg.name", "evt.arg.fd", "evt.arg[0]", "evt.rawarg.flags", "evt.res", "evt.time", "evt.time.iso8601", "evt.category", "evt.dir",
		"fs.path.name", "fs.path.source", "evt.buffer", "thread.cap_effective", "proc.env[HOME]", "proc.args[1]", "proc.duration", "proc.sname",
		"proc.is_vpgid_leader", "fd.lip", "fd.l4proto", "proc.stdin.type", "evt.hostname", "proc.aenv[HOME]",
	} {
		r := ref(t, f)
		var v Value
		run := func() {
			w.a.Flushed() // the payload, not what the events hold
			for _, name := range [...]string{"open", "thread", "socket", "rename"} {
				e := events[name]
				r.Get(w.c, e, &v)
				r.Extract(w.c, e, w.a.Batch, 0, 0)
				buf, _ = r.AppendText(w.c, e, buf[:0])
				buf = r.AppendJSON(w.c, e, buf[:0])
			}
		}
		// The events lie in a batch that Flushed empties: copies live on their own.
		for k, e := range events {
			events[k] = append(event.Event(nil), e...)
		}
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations for four events", f, n)
		}
	}
}
