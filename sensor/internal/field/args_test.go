package field

import (
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// What evt.args shows of whole events: each want is what Falco prints for the same parameters.
func TestEventArgs(t *testing.T) {
	w := newWorld(t)
	type missing struct{}
	dyn := func(idx byte, v ...byte) []byte { return append([]byte{idx}, v...) }
	for _, tt := range []struct {
		et     event.Type
		params []any
		want   string
	}{
		{event.SyscallStatX, []any{0, "etc/passwd"}, "res=0 path=etc/passwd(/home/admin/etc/passwd)"},
		{event.SyscallLstat64X, []any{-2, "/x"}, "res=-2(ENOENT) path=/x"},
		{event.SyscallFstatX, []any{0, 3}, "res=0 fd=3(<f>/etc/shadow)"},
		{event.SyscallFstat64X, []any{-9}, "res=-9(EBADF)"},
		{event.SyscallNewfstatatX, []any{0, 8, "x", 0x100}, "res=0 dirfd=8(<d>/var/lib/app) path=x(/var/lib/app/x) flags=256(AT_SYMLINK_NOFOLLOW)"},
		{event.SyscallNewfstatatX, []any{0, -100, "", 0x1900}, "res=0 dirfd=-100(AT_FDCWD) path= flags=6400(AT_EMPTY_PATH|AT_NO_AUTOMOUNT|AT_SYMLINK_NOFOLLOW)"},
		{event.SyscallAccessX, []any{-13, "/x", 5}, "res=-13(EACCES) name=/x mode=5(R_OK|X_OK)"},
		{event.SyscallAccessX, []any{0, "/x", 0}, "res=0 name=/x mode=0(F_OK)"},
		{event.SyscallMknodX, []any{0, "/p", 0o10640, 0}, "res=0 path=/p mode=010640(S_IRGRP|S_IWUSR|S_IRUSR|S_IFIFO) dev=0"},
		{event.SyscallMknodatX, []any{0, 8, "p", 0x2000, 0x100003}, "res=0 dirfd=8(<d>/var/lib/app) path=p(/var/lib/app/p) mode=020000(S_IFCHR) dev=1048579"},
		{event.SyscallGetcwdX, []any{6, "/root"}, "res=6 path=/root"},
		{event.SyscallGetcwdX, []any{-34, missing{}}, "res=-34(ERANGE) path=<NA>"},

		{event.SyscallBrkV4X, []any{0x5555aaaa, 10, 9, 0, 0x5555aaab}, "res=5555AAAA vm_size=10 vm_rss=9 vm_swap=0 addr=5555AAAB"},
		{event.SyscallMmapX, []any{int64(0x7f0000001000), 10, 9, 8, 0, 4096, 3, 10, -1, 0},
			"res=139637976731648 vm_size=10 vm_rss=9 vm_swap=8 addr=0 length=4096 prot=3(PROT_READ|PROT_WRITE) flags=10(MAP_PRIVATE|MAP_ANONYMOUS) fd=-1(EPERM) offset=0"},
		{event.SyscallMmap2X, []any{-22, 10, 9, 8, 0xABC, 4096, 0, 2, 3, 7},
			"res=-22(EINVAL) vm_size=10 vm_rss=9 vm_swap=8 addr=ABC length=4096 prot=0(PROT_NONE) flags=2(MAP_PRIVATE) fd=3(<f>/etc/shadow) pgoffset=7"},
		{event.SyscallMunmapX, []any{0, 1, 2, 3, 0x1000, 4096}, "res=0 vm_size=1 vm_rss=2 vm_swap=3 addr=1000 length=4096"},
		{event.SyscallMprotectX, []any{0, 0x1000, 4096, 4}, "res=0 addr=1000 length=4096 prot=4(PROT_EXEC)"},
		{event.SyscallMlock2X, []any{0, 0x1000, 4096, 1}, "res=0 addr=1000 len=4096 flags=1(MLOCK_ONFAULT)"},
		{event.SyscallMlockallX, []any{-1, 6}, "res=-1(EPERM) flags=6(MCL_FUTURE|MCL_ONFAULT)"},
		{event.SyscallUserfaultfdX, []any{5, 0x1040}, "res=5 flags=4160(O_NONBLOCK|O_CLOEXEC)"},

		{event.SyscallSetpgidX, []any{0, 300, 200}, "res=0 pid=300(cat) pgid=200(bash)"},
		{event.SyscallSetsidX, []any{300}, "res=300(cat)"},
		{event.SyscallGetrlimitX, []any{0, 1024, -1, 7}, "res=0 cur=1024 max=-1 resource=7(RLIMIT_NOFILE)"},
		{event.SyscallSetrlimitX, []any{-22, 2, 1, 255}, "res=-22(EINVAL) cur=2 max=1 resource=255(RLIMIT_UNKNOWN)"},
		{event.SyscallPrlimitX, []any{0, 0, 0, 1024, 4096, 200, 7, 0}, "res=0 newcur=0 newmax=0 oldcur=1024 oldmax=4096 pid=200 resource=7(RLIMIT_NOFILE) sets=false"},
		{event.SyscallPrlimitX, []any{0, 0, 0, 0, 0, 200, 7, 1}, "res=0 newcur=0 newmax=0 oldcur=0 oldmax=0 pid=200 resource=7(RLIMIT_NOFILE) sets=true"},
		{event.SyscallProcessMadviseX, []any{4096, 3, 21, 200}, "res=4096 pidfd=3(<f>/etc/shadow) advice=21(MADV_PAGEOUT) pid=200(bash)"},
		{event.SyscallNanosleepX, []any{0, 1000003}, "res=0 interval=1000003(0.001s)"},
		{event.SyscallNanosleepX, []any{-4, int64(90_000_000_000)}, "res=-4(EINTR) interval=90000000000(90s)"},
		{event.SyscallGetuidX, []any{0}, "uid=0(root)"},
		{event.SyscallGetegidX, []any{5}, "egid=5(<NA>)"},
		{event.SyscallGetresuidX, []any{0, 0, 33, -1}, "res=0 ruid=0(root) euid=33(<NA>) suid=-1(<NONE>)"},

		{event.SyscallFutexX, []any{0, 0xC000, 129, 1}, "res=0 addr=C000 op=129(FUTEX_PRIVATE_FLAG|FUTEX_WAKE) val=1"},
		{event.SyscallFutexX, []any{-11, 0xC000, 128, 2}, "res=-11(EAGAIN) addr=C000 op=128(FUTEX_PRIVATE_FLAG) val=2"},
		{event.SyscallFutexX, []any{0, 0xC000, 0, 2}, "res=0 addr=C000 op=0(FUTEX_WAIT) val=2"},
		{event.SyscallSemgetX, []any{7, -0x1a5edcc, 3, 0x6000}, "res=7 key=FE5A1234 nsems=3 semflg=24576(IPC_EXCL|IPC_CREAT)"},
		{event.SyscallSemopX, []any{0, 2, 1, -3, 3, 0, 4, 0, 9},
			"res=0 nsops=2 sem_num_0=1 sem_op_0=-3 sem_flg_0=3(IPC_NOWAIT|SEM_UNDO) sem_num_1=0 sem_op_1=4 sem_flg_1=0 semid=9"},
		{event.SyscallSemctlX, []any{0, 9, 1, 0x1000, 77}, "res=0 semid=9 semnum=1 cmd=4096(SETVAL) val=77"},
		{event.SyscallProcessVmReadvX, []any{3, 200, []byte("a\x00b")}, "res=3 pid=200(bash) data=a.b"},
		{event.SyscallProcessVmWritevX, []any{-3, 77, missing{}}, "res=-3 pid=77 data=NULL"},
		{event.SyscallSeccompX, []any{0, 1, 0x1f}, "res=0 op=1 flags=1F"},
		{event.SyscallKeyctlX, []any{9, 10, dyn(0, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), append([]byte{1}, "user\x00"...), dyn(1, 'k', 0), dyn(0, 0, 0, 0, 0, 0, 0, 0, 0)},
			"res=9 operation=10(KEYCTL_SEARCH) arg2=-3 arg3=user arg4=k arg5=0"},
		{event.SyscallDeleteModuleX, []any{-2, "nls", 3}, "res=-2(ENOENT) name=nls flags=3(O_NONBLOCK|O_TRUNC)"},
		{event.SyscallFsconfigX, []any{0, 8, 1, "size", missing{}, "1m", 0},
			"res=0 fd=8(<d>/var/lib/app) cmd=1(FSCONFIG_SET_STRING) key=size value_bytebuf=NULL value_charbuf=1m aux=0"},
		{event.SyscallQuotactlX, []any{0, "/dev/sda", missing{}, 11, 12, 13, 14, 15, 17, 18, 0, 0, 0, 1, 32, 1, 1000, 1},
			"res=0 special=/dev/sda quotafilepath=<NA> dqb_bhardlimit=11 dqb_bsoftlimit=12 dqb_curspace=13 dqb_ihardlimit=14 dqb_isoftlimit=15 " +
				"dqb_btime=17(1.7e-08s) dqb_itime=18(1.8e-08s) dqi_bgrace=0(0s) dqi_igrace=0(0s) dqi_flags=0 quota_fmt_out=1(QFMT_NOT_USED) " +
				"cmd=32(Q_GETQUOTA) type=1(USRQUOTA) id=1000 quota_fmt=1(QFMT_NOT_USED)"},

		{event.SignaldeliverE, []any{200, 300, 9}, "spid=200(bash) dpid=300(cat) sig=9(SIGKILL)"},
		{event.SignaldeliverE, []any{0, 300, 34}, "spid=0 dpid=300(cat) sig=34"},
		{event.SchedswitchV6E, []any{200, 1, 2, 3, 4, 5}, "next=200(bash) pgft_maj=1 pgft_min=2 vm_size=3 vm_rss=4 vm_swap=5"},
		{event.PageFaultE, []any{0x7f00, 0xffffffff81000000 - 1<<64, 0x16}, "addr=7F00 ip=FFFFFFFF81000000 error=22(PAGE_NOT_PRESENT|WRITE_ACCESS|USER_FAULT)"},
	} {
		b := w.record(300, tt.et)
		for _, v := range tt.params {
			switch v := v.(type) {
			case int:
				b.Int(int64(v))
			case int64:
				b.Int(v)
			case string:
				b.String(v)
			case []byte:
				b.Bytes(v)
			default:
				b.Missing()
			}
		}
		e := w.event(t, b.Done(), 300, -1)
		if got := w.show(t, "evt.args", e); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.et, got, tt.want)
		}
		w.a.Flushed()
	}
}
