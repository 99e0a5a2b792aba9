package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// op makes one operation, which stands for the case's call, and returns its result. It skips what the kernel doesn't have.
func (t *env) op(r *ring, s sqe) int64 {
	t.Helper()
	opsMade[s.Op] = true
	t.nr, t.origin = uint32(number(t.name)), t.origin|wasmabi.OriginIoUring
	var res int64
	s.Data = 7000 + uint64(t.made)
	t.watched(func() { res = r.do(t, s) })
	if res == errno(unix.EINVAL) && !hasOp(t, r, s.Op) {
		t.Skipf("this kernel's io_uring has no operation %d", s.Op)
	}
	return res
}

// hasOp asks which operations the kernel has (IORING_REGISTER_PROBE).
func hasOp(t *env, r *ring, op uint8) bool {
	var b [16 + 8*256]byte
	_, _, e := unix.RawSyscall6(uintptr(number("io_uring_register")), uintptr(r.fd), 8, uintptr(unsafe.Pointer(&b)), 256, 0, 0)
	if e != 0 {
		t.Fatal(e)
	}
	return op <= b[0] && binary.NativeEndian.Uint16(b[16+8*int(op)+2:])&1 != 0
}

func ptr(p uintptr) uint64 { return uint64(p) }

// uringCase is a case of one operation on a ring of its own.
func uringCase(call, what string, typ event.Type, run func(t *env, r *ring) []any) callCase {
	return callCase{call, "io_uring " + what, typ, func(t *env) []any {
		t.mine = ofUring // the test's process closes files meanwhile
		return run(t, newRing(t, 0))
	}}
}

func ofUring(r event.Record) bool { return r.Origin()&wasmabi.OriginIoUring != 0 }

const atFDCWD = unix.AT_FDCWD

func uringCases() []callCase {
	return []callCase{
		uringCase("openat", "creates", event.SyscallOpenatV2X, func(t *env, r *ring) []any {
			p := newPath(t)
			fd := t.op(r, sqe{Op: 18, FD: atFDCWD, Addr: ptr(str(p)), OpFlags: unix.O_CREAT | unix.O_WRONLY, Len: 0o640})
			dev, ino := opened(t, fd)
			return []any{fd, atFDCWD, p, fCreat | fWronly | fCreated, 0o640, dev, ino}
		}),
		uringCase("openat", "in a worker", event.SyscallOpenatV2X, func(t *env, r *ring) []any {
			p := oldPath(t)
			fd := t.op(r, sqe{Op: 18, Flags: sqeAsync, FD: atFDCWD, Addr: ptr(str(p)), OpFlags: unix.O_RDWR | unix.O_CLOEXEC})
			dev, ino := opened(t, fd)
			return []any{fd, atFDCWD, p, fRdwr | fCloexec, 0, dev, ino}
		}),
		uringCase("openat", "fails", event.SyscallOpenatV2X, func(t *env, r *ring) []any {
			if res := t.op(r, sqe{Op: 18, FD: atFDCWD, Addr: ptr(str("/nonexistent/a"))}); res != errno(unix.ENOENT) {
				t.Fatal(res)
			}
			return []any{errno(unix.ENOENT), atFDCWD, "/nonexistent/a", fRdonly, 0, 0, 0}
		}),
		uringCase("openat", "registered file", event.SyscallOpenatV2X, func(t *env, r *ring) []any {
			r.register(t, -1)
			p := oldPath(t)
			if res := t.op(r, sqe{Op: 18, FD: atFDCWD, Addr: ptr(str(p)), FileIndex: 1}); res != 0 {
				t.Fatal(res)
			}
			return []any{missing{}, atFDCWD, p, fRdonly, 0, 0, 0}
		}),
		{"openat", "io_uring polled", event.SyscallOpenatV2X, func(t *env) []any {
			r, p := newRing(t, setupSQPoll), oldPath(t)
			t.tid = os.Getpid() // the kernel's thread works for the process
			fd := t.op(r, sqe{Op: 18, FD: atFDCWD, Addr: ptr(str(p))})
			dev, ino := opened(t, fd)
			return []any{fd, atFDCWD, p, fRdonly, 0, dev, ino}
		}},
		{"openat", "io_uring without an array", event.SyscallOpenatV2X, func(t *env) []any {
			r, p := newRing(t, setupNoSQArray), oldPath(t)
			fd := t.op(r, sqe{Op: 18, FD: atFDCWD, Addr: ptr(str(p))})
			dev, ino := opened(t, fd)
			return []any{fd, atFDCWD, p, fRdonly, 0, dev, ino}
		}},
		uringCase("openat2", "reads", event.SyscallOpenat2X, func(t *env, r *ring) []any {
			p := oldPath(t)
			how := binary.NativeEndian.AppendUint64(nil, unix.O_RDONLY|unix.O_CLOEXEC)
			how = binary.NativeEndian.AppendUint64(how, 0)
			how = binary.NativeEndian.AppendUint64(how, unix.RESOLVE_NO_SYMLINKS)
			fd := t.op(r, sqe{Op: 28, FD: atFDCWD, Addr: ptr(str(p)), Off: ptr(addr(how)), Len: uint32(len(how))})
			dev, ino := opened(t, fd)
			return []any{fd, atFDCWD, p, fRdonly | fCloexec, 0, 8, dev, ino}
		}),
		uringCase("close", "ok", event.SyscallCloseX, func(t *env, r *ring) []any {
			fd := dup(t, 0)
			return []any{t.op(r, sqe{Op: 19, FD: int32(fd)}), fd}
		}),
		uringCase("close", "bad fd", event.SyscallCloseX, func(t *env, r *ring) []any {
			res := t.op(r, sqe{Op: 19, FD: 9999})
			if res != errno(unix.EBADF) {
				t.Fatal(res)
			}
			return []any{res, 9999}
		}),
		uringCase("read", "a pipe", event.SyscallReadX, func(t *env, r *ring) []any {
			rd, wr := pipe(t)
			write(t, wr, "hello")
			buf := make([]byte, 16)
			return []any{t.op(r, sqe{Op: 22, FD: int32(rd), Addr: ptr(addr(buf)), Len: 16, Off: ^uint64(0)}), []byte("hello"), rd, 16}
		}),
		uringCase("read", "a registered file", event.SyscallReadX, func(t *env, r *ring) []any {
			rd, wr := pipe(t)
			write(t, wr, "hello")
			r.register(t, rd)
			buf := make([]byte, 16)
			return []any{t.op(r, sqe{Op: 22, Flags: sqeFixedFile, FD: 0, Addr: ptr(addr(buf)), Len: 16, Off: ^uint64(0)}), []byte("hello"), missing{}, 16}
		}),
		uringCase("pread64", "a file", event.SyscallPreadX, func(t *env, r *ring) []any {
			fd := fileWith(t, "0123456789")
			buf := make([]byte, 4)
			return []any{t.op(r, sqe{Op: 22, FD: int32(fd), Addr: ptr(addr(buf)), Len: 4, Off: 3}), []byte("3456"), fd, 4, 3}
		}),
		uringCase("readv", "a pipe", event.SyscallReadvX, func(t *env, r *ring) []any {
			rd, wr := pipe(t)
			write(t, wr, "hello")
			return []any{t.op(r, sqe{Op: 1, FD: int32(rd), Addr: ptr(iovecs(make([]byte, 2), make([]byte, 8))), Len: 2, Off: ^uint64(0)}), 5, []byte("hello"), rd}
		}),
		uringCase("preadv", "a file", event.SyscallPreadvX, func(t *env, r *ring) []any {
			fd := fileWith(t, "0123456789")
			return []any{t.op(r, sqe{Op: 1, FD: int32(fd), Addr: ptr(iovecs(make([]byte, 2), make([]byte, 3))), Len: 2, Off: 1}), 5, []byte("12345"), fd, 1}
		}),
		uringCase("write", "a pipe", event.SyscallWriteX, func(t *env, r *ring) []any {
			_, wr := pipe(t)
			return []any{t.op(r, sqe{Op: 23, FD: int32(wr), Addr: ptr(addr([]byte("hello"))), Len: 5, Off: ^uint64(0)}), []byte("hello"), wr, 5}
		}),
		uringCase("pwrite64", "a file", event.SyscallPwriteX, func(t *env, r *ring) []any {
			fd := fileWith(t, "")
			return []any{t.op(r, sqe{Op: 23, FD: int32(fd), Addr: ptr(addr([]byte("hello"))), Len: 5, Off: 9}), []byte("hello"), fd, 5, 9}
		}),
		uringCase("writev", "a pipe", event.SyscallWritevX, func(t *env, r *ring) []any {
			_, wr := pipe(t)
			return []any{t.op(r, sqe{Op: 2, FD: int32(wr), Addr: ptr(iovecs([]byte("ab"), []byte("cde"))), Len: 2, Off: ^uint64(0)}), []byte("abcde"), wr, 5}
		}),
		uringCase("pwritev", "a file", event.SyscallPwritevX, func(t *env, r *ring) []any {
			fd := fileWith(t, "")
			return []any{t.op(r, sqe{Op: 2, FD: int32(fd), Addr: ptr(iovecs([]byte("ab"), []byte("cde"))), Len: 2, Off: 4}), []byte("abcde"), fd, 5, 4}
		}),
		uringCase("unlinkat", "a file", event.SyscallUnlinkatV2X, func(t *env, r *ring) []any {
			p := oldPath(t)
			return []any{t.op(r, sqe{Op: 36, FD: atFDCWD, Addr: ptr(str(p))}), atFDCWD, p, 0}
		}),
		uringCase("unlinkat", "no such directory", event.SyscallUnlinkatV2X, func(t *env, r *ring) []any {
			p := newPath(t)
			res := t.op(r, sqe{Op: 36, FD: atFDCWD, Addr: ptr(str(p)), OpFlags: unix.AT_REMOVEDIR})
			if res != errno(unix.ENOENT) {
				t.Fatal(res)
			}
			return []any{res, atFDCWD, p, unix.AT_REMOVEDIR}
		}),
		uringCase("unlinkat", "bad address", event.SyscallUnlinkatV2X, func(t *env, r *ring) []any {
			res := t.op(r, sqe{Op: 36, FD: atFDCWD, Addr: 1})
			if _, err := traceArgs(kernelTypes(t), "io_uring_req_failed"); err != nil {
				t.Skip("this kernel tells of no operation that can't begin")
			}
			if res != errno(unix.EFAULT) {
				t.Fatal(res)
			}
			return []any{res, atFDCWD, missing{}, 0}
		}),
		uringCase("renameat2", "a file", event.SyscallRenameat2X, func(t *env, r *ring) []any {
			p := oldPath(t)
			return []any{t.op(r, sqe{Op: 35, FD: atFDCWD, Addr: ptr(str(p)), Len: 0xFFFFFF9C, Off: ptr(str(p + "2")), OpFlags: unix.RENAME_NOREPLACE}), atFDCWD, p, atFDCWD, p + "2", unix.RENAME_NOREPLACE}
		}),
		uringCase("mkdirat", "a directory", event.SyscallMkdiratX, func(t *env, r *ring) []any {
			p := newPath(t)
			return []any{t.op(r, sqe{Op: 37, FD: atFDCWD, Addr: ptr(str(p)), Len: 0o750}), atFDCWD, p, 0o750}
		}),
		uringCase("symlinkat", "a link", event.SyscallSymlinkatX, func(t *env, r *ring) []any {
			p := newPath(t)
			return []any{t.op(r, sqe{Op: 38, FD: atFDCWD, Addr: ptr(str("target")), Off: ptr(str(p))}), "target", atFDCWD, p}
		}),
		uringCase("linkat", "a link", event.SyscallLinkatV2X, func(t *env, r *ring) []any {
			p := oldPath(t)
			return []any{t.op(r, sqe{Op: 39, FD: atFDCWD, Addr: ptr(str(p)), Len: 0xFFFFFF9C, Off: ptr(str(p + "2")), OpFlags: unix.AT_SYMLINK_FOLLOW}), atFDCWD, p, atFDCWD, p + "2", unix.AT_SYMLINK_FOLLOW}
		}),
		uringCase("ftruncate", "a file", event.SyscallFtruncateX, func(t *env, r *ring) []any {
			fd := fileWith(t, "0123456789")
			return []any{t.op(r, sqe{Op: 55, FD: int32(fd), Off: 3}), fd, 3}
		}),
		uringCase("setxattr", "no such file", event.SyscallSetxattrX, func(t *env, r *ring) []any {
			res := t.op(r, sqe{Op: 42, Addr3: ptr(str("/nonexistent")), Addr: ptr(str("user.a")), Off: ptr(addr([]byte("v"))), Len: 1, OpFlags: 1})
			return []any{res, "/nonexistent", "user.a"}
		}),
		uringCase("fsetxattr", "a file", event.SyscallFsetxattrX, func(t *env, r *ring) []any {
			fd := fileWith(t, "0123456789")
			return []any{t.op(r, sqe{Op: 41, FD: int32(fd), Addr: ptr(str("user.a")), Off: ptr(addr([]byte("v"))), Len: 1, OpFlags: 2}), fd, "user.a"}
		}),
		uringCase("splice", "a pipe", event.SyscallSpliceX, func(t *env, r *ring) []any {
			rd, wr := pipe(t)
			rd2, wr2 := pipe(t)
			_, _ = rd2, write
			write(t, wr, "hello")
			return []any{t.op(r, sqe{Op: 30, FileIndex: int32(rd), Addr: ^uint64(0), FD: int32(wr2), Off: ^uint64(0), Len: 5, OpFlags: unix.SPLICE_F_MOVE}), rd, wr2, 5, unix.SPLICE_F_MOVE}
		}),
		uringCase("dup", "an fd of a registered file", event.SyscallDupV1X, func(t *env, r *ring) []any {
			fd := fileWith(t, "0123456789")
			r.register(t, fd)
			t.origin |= wasmabi.OriginCloexec
			n := closing(t, t.op(r, sqe{Op: 54, Flags: sqeFixedFile}))
			path, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
			if err != nil {
				t.Fatal(err)
			}
			dev, ino := opened(t, n)
			return []any{n, missing{}, path, missing{}, unix.S_IFREG, dev, ino}
		}),
		uringCase("dup", "an fd of a registered socket", event.SyscallDupV1X, func(t *env, r *ring) []any {
			fd, from, port := streams(t, "")
			r.register(t, fd)
			n := closing(t, t.op(r, sqe{Op: 54, Flags: sqeFixedFile, OpFlags: 1}))
			return []any{n, missing{}, missing{}, tuple(lo4, port, lo4, from), unix.S_IFSOCK, present{}, present{}}
		}),
		uringCase("dup", "an fd of a registered pipe", event.SyscallDupV1X, func(t *env, r *ring) []any {
			rd, _ := pipe(t)
			r.register(t, rd)
			t.origin |= wasmabi.OriginCloexec
			n := closing(t, t.op(r, sqe{Op: 54, Flags: sqeFixedFile}))
			return []any{n, missing{}, missing{}, missing{}, unix.S_IFIFO, present{}, present{}}
		}),
		uringCase("dup", "of no registered file", event.SyscallDupV1X, func(t *env, r *ring) []any {
			r.register(t, -1)
			res := t.op(r, sqe{Op: 54, Flags: sqeFixedFile})
			if res != errno(unix.EBADF) {
				t.Fatal(res)
			}
			return []any{res, missing{}}
		}),
		uringCase("pipe2", "both ends", event.SyscallPipe2X, func(t *env, r *ring) []any {
			fds := make([]int32, 2)
			res := t.op(r, sqe{Op: 62, Addr: ptr(addr(unsafe.Slice((*byte)(unsafe.Pointer(&fds[0])), 8))), OpFlags: unix.O_CLOEXEC})
			if res != 0 {
				t.Fatal(res)
			}
			_, ino := opened(t, int64(fds[0]))
			opened(t, int64(fds[1]))
			return []any{0, int(fds[0]), int(fds[1]), ino, fCloexec}
		}),
		uringCase("read", "a registered buffer", event.SyscallReadX, func(t *env, r *ring) []any {
			rd, wr := pipe(t)
			write(t, wr, "hello")
			buf := r.buffer(t)
			return []any{t.op(r, sqe{Op: 4, FD: int32(rd), Addr: ptr(buf), Len: 16, Off: ^uint64(0)}), []byte("hello"), rd, 16}
		}),
		uringCase("write", "a registered buffer", event.SyscallWriteX, func(t *env, r *ring) []any {
			_, wr := pipe(t)
			buf := r.buffer(t)
			return []any{t.op(r, sqe{Op: 5, FD: int32(wr), Addr: ptr(buf), Len: 3, Off: ^uint64(0)}), []byte{0, 0, 0}, wr, 3}
		}),
		uringCase("preadv", "a registered buffer", event.SyscallPreadvX, func(t *env, r *ring) []any {
			fd, buf := fileWith(t, "0123456789"), r.buffer(t)
			iov := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, ptr(buf)), 4)
			return []any{t.op(r, sqe{Op: 60, FD: int32(fd), Addr: ptr(addr(iov)), Len: 1, Off: 1}), 4, []byte("1234"), fd, 1}
		}),
		uringCase("pwritev", "a registered buffer", event.SyscallPwritevX, func(t *env, r *ring) []any {
			fd, buf := fileWith(t, ""), r.buffer(t)
			iov := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, ptr(buf)), 4)
			return []any{t.op(r, sqe{Op: 61, FD: int32(fd), Addr: ptr(addr(iov)), Len: 1, Off: 1}), []byte{0, 0, 0, 0}, fd, 4, 1}
		}),
		uringCase("socket", "TCP", event.SocketSocketX, func(t *env, r *ring) []any {
			typ := unix.SOCK_STREAM | unix.SOCK_CLOEXEC
			return []any{closing(t, t.op(r, sqe{Op: 45, FD: unix.AF_INET, Off: uint64(typ), Len: unix.IPPROTO_TCP})), unix.AF_INET, typ, unix.IPPROTO_TCP, fCloexec}
		}),
		uringCase("socket", "registered file", event.SocketSocketX, func(t *env, r *ring) []any {
			r.register(t, -1)
			if res := t.op(r, sqe{Op: 45, FD: unix.AF_INET, Off: unix.SOCK_STREAM, FileIndex: 1}); res != 0 {
				t.Fatal(res)
			}
			return []any{missing{}, unix.AF_INET, unix.SOCK_STREAM, 0, 0}
		}),
		uringCase("bind", "IPv4", event.SocketBindX, func(t *env, r *ring) []any {
			fd, a := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), sockaddr(lo4, 0)
			return []any{t.op(r, sqe{Op: 56, FD: int32(fd), Addr: ptr(addr(a)), Off: uint64(len(a))}), inEvent(lo4, 0), fd, portOf(t, fd)}
		}),
		uringCase("listen", "ok", event.SocketListenX, func(t *env, r *ring) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			return []any{t.op(r, sqe{Op: 57, FD: int32(fd), Len: 7}), fd, 7}
		}),
		uringCase("connect", "IPv4", event.SocketConnectX, func(t *env, r *ring) []any {
			_, port := listening(t, lo4)
			fd, a := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), sockaddr(lo4, port)
			res := t.op(r, sqe{Op: 16, FD: int32(fd), Addr: ptr(addr(a)), Off: uint64(len(a))})
			return []any{res, tuple(lo4, portOf(t, fd), lo4, port), fd, inEvent(lo4, port)}
		}),
		uringCase("connect", "refused", event.SocketConnectX, func(t *env, r *ring) []any {
			fd, a := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), sockaddr(lo4, 1)
			if res := t.op(r, sqe{Op: 16, FD: int32(fd), Addr: ptr(addr(a)), Off: uint64(len(a))}); res != errno(unix.ECONNREFUSED) {
				t.Fatal(res)
			}
			return []any{errno(unix.ECONNREFUSED), missing{}, fd, inEvent(lo4, 1)}
		}),
		uringCase("connect", "a registered file", event.SocketConnectX, func(t *env, r *ring) []any {
			_, port := listening(t, lo4)
			fd, a := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), sockaddr(lo4, port)
			r.register(t, fd)
			res := t.op(r, sqe{Op: 16, Flags: sqeFixedFile, Addr: ptr(addr(a)), Off: uint64(len(a))})
			return []any{res, tuple(lo4, portOf(t, fd), lo4, port), missing{}, inEvent(lo4, port)}
		}),
		uringCase("accept4", "IPv4", event.SocketAccept4V6X, func(t *env, r *ring) []any {
			lfd, port := listening(t, lo4)
			out := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			if err := unix.Connect(out, goSockaddr(lo4, port)); err != nil {
				t.Fatal(err)
			}
			fd := closing(t, t.op(r, sqe{Op: 13, FD: int32(lfd), OpFlags: unix.SOCK_CLOEXEC}))
			return []any{fd, tuple(lo4, portOf(t, out), lo4, port), 0, 0, 16, fCloexec}
		}),
		uringCase("shutdown", "one way", event.SocketShutdownX, func(t *env, r *ring) []any {
			fd, _, _ := streams(t, "")
			return []any{t.op(r, sqe{Op: 34, FD: int32(fd), Len: 1}), fd, 1}
		}),
		uringCase("sendto", "a connection", event.SocketSendtoX, func(t *env, r *ring) []any {
			fd, from, port := streams(t, "")
			return []any{t.op(r, sqe{Op: 26, FD: int32(fd), Addr: ptr(addr([]byte("hello"))), Len: 5}), []byte("hello"), fd, 5, tuple(lo4, port, lo4, from)}
		}),
		uringCase("sendto", "an address", event.SocketSendtoX, func(t *env, r *ring) []any {
			_, _, port := datagrams(t, lo4)
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			if err := bindTo(fd, lo4, 0); err != nil {
				t.Fatal(err)
			}
			a := sockaddr(lo4, port)
			res := t.op(r, sqe{Op: 26, FD: int32(fd), Addr: ptr(addr([]byte("hello"))), Len: 5, Off: ptr(addr(a)), FileIndex: int32(len(a))})
			if res == errno(unix.EDESTADDRREQ) || res == errno(unix.EINVAL) {
				t.Skip("this kernel's io_uring sends to no address")
			}
			return []any{res, []byte("hello"), fd, 5, tuple(lo4, portOf(t, fd), lo4, port)}
		}),
		uringCase("sendto", "without a copy", event.SocketSendtoX, func(t *env, r *ring) []any {
			fd, from, port := streams(t, "")
			return []any{t.op(r, sqe{Op: 47, FD: int32(fd), Addr: ptr(addr([]byte("hello"))), Len: 5}), []byte("hello"), fd, 5, tuple(lo4, port, lo4, from)}
		}),
		uringCase("sendmsg", "a connection", event.SocketSendmsgX, func(t *env, r *ring) []any {
			fd, from, port := streams(t, "")
			return []any{t.op(r, sqe{Op: 9, FD: int32(fd), Addr: ptr(message(nil, []byte("he"), []byte("llo"))), Len: 1}), []byte("hello"), fd, 5, tuple(lo4, port, lo4, from)}
		}),
		uringCase("sendmsg", "without a copy", event.SocketSendmsgX, func(t *env, r *ring) []any {
			fd, from, port := streams(t, "")
			return []any{t.op(r, sqe{Op: 48, FD: int32(fd), Addr: ptr(message(nil, []byte("he"), []byte("llo"))), Len: 1}), []byte("hello"), fd, 5, tuple(lo4, port, lo4, from)}
		}),
		uringCase("recvfrom", "a connection", event.SocketRecvfromX, func(t *env, r *ring) []any {
			fd, from, port := streams(t, "hello")
			return []any{t.op(r, sqe{Op: 27, FD: int32(fd), Addr: ptr(addr(make([]byte, 9))), Len: 9}), []byte("hello"), tuple(lo4, from, lo4, port), fd, 9}
		}),
		uringCase("recvmsg", "a connection", event.SocketRecvmsgX, func(t *env, r *ring) []any {
			fd, from, port := streams(t, "hello")
			return []any{t.op(r, sqe{Op: 10, FD: int32(fd), Addr: ptr(message(nil, make([]byte, 3), make([]byte, 9))), Len: 1}), 5, []byte("hello"), tuple(lo4, from, lo4, port), missing{}, fd}
		}),
		uringCase("epoll_wait", "nothing is there", event.SyscallEpollwaitX, func(t *env, r *ring) []any {
			ep, err := unix.EpollCreate1(0)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, int64(ep))
			rd, wr := pipe(t)
			write(t, wr, "x")
			if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, rd, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
				t.Fatal(err)
			}
			return []any{t.op(r, sqe{Op: 59, FD: int32(ep), Addr: ptr(addr(make([]byte, 64))), Len: 4}), 4}
		}),
		uringGeneric("futex_waitv", func(t *env, fd int) (sqe, []any) { // the word isn't 1
			word := addr(make([]byte, 8))
			v := binary.NativeEndian.AppendUint64(nil, 1)
			v = binary.NativeEndian.AppendUint64(v, ptr(word))
			v = binary.NativeEndian.AppendUint64(v, 2|128)
			p := addr(v)
			return sqe{Op: 53, Addr: ptr(p), Len: 1}, []any{p, 1, 0, 0, 0, 0}
		}),
		uringGeneric("fsync", func(t *env, fd int) (sqe, []any) { return sqe{Op: 3, FD: int32(fd)}, []any{fd, 0, 0, 0, 0, 0} }),
		uringGeneric("fdatasync", func(t *env, fd int) (sqe, []any) {
			return sqe{Op: 3, FD: int32(fd), OpFlags: 1}, []any{fd, 0, 0, 0, 0, 0}
		}),
		uringGeneric("sync_file_range", func(t *env, fd int) (sqe, []any) {
			return sqe{Op: 8, FD: int32(fd), Off: 1, Len: 2, OpFlags: 4}, []any{fd, 1, 2, 4, 0, 0}
		}),
		uringGeneric("fallocate", func(t *env, fd int) (sqe, []any) {
			return sqe{Op: 17, FD: int32(fd), Len: 1, Off: 2, Addr: 3}, []any{fd, 1, 2, 3, 0, 0}
		}),
		uringGeneric("fadvise64", func(t *env, fd int) (sqe, []any) {
			return sqe{Op: 24, FD: int32(fd), Off: 1, Len: 2, OpFlags: 3}, []any{fd, 1, 2, 3, 0, 0}
		}),
		uringGeneric("madvise", func(t *env, fd int) (sqe, []any) {
			m := anonPage(t)
			return sqe{Op: 25, Addr: ptr(m), Len: 4096, OpFlags: unix.MADV_NORMAL}, []any{m, 4096, unix.MADV_NORMAL, 0, 0, 0}
		}),
		uringGeneric("statx", func(t *env, fd int) (sqe, []any) {
			p, to := str("/"), addr(make([]byte, unsafe.Sizeof(unix.Statx_t{})))
			return sqe{Op: 21, FD: atFDCWD, Addr: ptr(p), OpFlags: unix.AT_NO_AUTOMOUNT, Len: unix.STATX_INO, Off: ptr(to)}, []any{atFDCWD, p, unix.AT_NO_AUTOMOUNT, unix.STATX_INO, to, 0}
		}),
		uringGeneric("tee", func(t *env, fd int) (sqe, []any) {
			rd, wr := pipe(t)
			_, wr2 := pipe(t)
			write(t, wr, "hello")
			return sqe{Op: 33, FileIndex: int32(rd), FD: int32(wr2), Len: 3, OpFlags: 2}, []any{rd, wr2, 3, 2, 0, 0}
		}),
		uringGeneric("epoll_ctl", func(t *env, fd int) (sqe, []any) {
			ep, err := unix.EpollCreate1(0)
			if err != nil {
				t.Fatal(err)
			}
			rd, _ := pipe(t)
			closing(t, int64(ep))
			ev := addr(make([]byte, 16))
			return sqe{Op: 29, FD: int32(ep), Len: unix.EPOLL_CTL_ADD, Off: uint64(rd), Addr: ptr(ev)}, []any{ep, unix.EPOLL_CTL_ADD, rd, ev, 0, 0}
		}),
		uringGeneric("getxattr", func(t *env, fd int) (sqe, []any) {
			p, n, v := str("/nonexistent"), str("user.a"), addr(make([]byte, 8))
			return sqe{Op: 44, Addr3: ptr(p), Addr: ptr(n), Off: ptr(v), Len: 8}, []any{p, n, v, 8, 0, 0}
		}),
		uringGeneric("fgetxattr", func(t *env, fd int) (sqe, []any) {
			n, v := str("user.a"), addr(make([]byte, 8))
			return sqe{Op: 43, FD: int32(fd), Addr: ptr(n), Off: ptr(v), Len: 8}, []any{fd, n, v, 8, 0, 0}
		}),
		uringGeneric("waitid", func(t *env, fd int) (sqe, []any) { // of no child
			return sqe{Op: 50, Len: unix.P_PID, FD: 1 << 22, FileIndex: unix.WEXITED | unix.WNOHANG}, []any{unix.P_PID, 1 << 22, 0, unix.WEXITED | unix.WNOHANG, 0, 0}
		}),
		uringGeneric("futex_wake", func(t *env, fd int) (sqe, []any) {
			word := addr(make([]byte, 8))
			return sqe{Op: 52, Addr: ptr(word), Off: 1, Addr3: 0xFFFFFFFF, FD: 2 | 128}, []any{word, 0xFFFFFFFF, 1, 2 | 128, 0, 0}
		}),
		uringGeneric("futex_wait", func(t *env, fd int) (sqe, []any) { // the word isn't 1
			word := addr(make([]byte, 8))
			return sqe{Op: 51, Addr: ptr(word), Off: 1, Addr3: 0xFFFFFFFF, FD: 2 | 128}, []any{word, 1, 0xFFFFFFFF, 2 | 128, 0, 0}
		}),
	}
}

// uringGeneric is a case of an operation that stands for a call without an event of its own. The test's file is fd.
func uringGeneric(call string, run func(t *env, fd int) (sqe, []any)) callCase {
	return uringCase(call, "generic", event.GenericX, func(t *env, r *ring) []any {
		s, args := run(t, fileWith(t, "0123456789"))
		res := t.op(r, s)
		return append([]any{codeOf(t, call), number(call), number(call), res}, args...)
	})
}

func dup(t *env, fd int) int {
	t.Helper()
	n, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func pipe(t *env) (rd, wr int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	closing(t, int64(p[0]))
	closing(t, int64(p[1]))
	return p[0], p[1]
}

func write(t *env, fd int, s string) {
	t.Helper()
	if _, err := unix.Write(fd, []byte(s)); err != nil {
		t.Fatal(err)
	}
}

func fileWith(t *env, s string) int {
	t.Helper()
	p := newPath(t)
	if err := os.WriteFile(p, []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(p, unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, int64(fd))
	return fd
}

func anonPage(t *env) uintptr {
	t.Helper()
	m, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(m) })
	return uintptr(unsafe.Pointer(&m[0]))
}

func kernelTypes(t testing.TB) *btf.Spec {
	t.Helper()
	types, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	return types
}

func TestUringHook(t *testing.T) {
	l := needProbe(t)
	l.want(t, "openat")
	h := hookOf(l.p, uringHook)
	if h.State != StateAttached || h.Reason != "" || len(h.At) < 2 {
		t.Errorf("%+v", h)
	}
	for name, err := range l.p.uring.refused {
		t.Errorf("%s: %v", name, err)
	}
	l.want(t)
	if h := hookOf(l.p, uringHook); h.State != StateLoaded {
		t.Errorf("%+v", h)
	}
}

// opsMade are the operations that the cases made.
var opsMade = map[uint8]bool{}

// TestUringOperations: each operation that stands for a call has a case, and its call a program.
func TestUringOperations(t *testing.T) {
	opsMade = map[uint8]bool{}
	t.Run("cases", func(t *testing.T) { runCases(t, uringCases()) })
	opsMade[49] = true // TestUringMultishot
	for _, op := range uringOperations {
		if !opsMade[uint8(op.code)] && op.name != "RECV_ZC" { // which needs a network card of its own
			t.Errorf("%s has no case", op.name)
		}
		for _, call := range op.calls {
			if call != "" && !slices.ContainsFunc(event.Syscalls(), func(sc event.Syscall) bool { return sc.Name == call }) {
				t.Errorf("%s stands for %s, which is no call", op.name, call)
			}
		}
	}
}

// uringEvents are the events of operations that fn made.
func (l *live) uringEvents(t testing.TB, calls []string, fn func()) []event.Record {
	t.Helper()
	l.drain(t)
	l.want(t, calls...)
	fn()
	l.want(t)
	return slices.DeleteFunc(l.drain(t), func(r event.Record) bool { return !ofUring(r) })
}

// result is the first parameter.
func result(r event.Record) int64 {
	b, _ := r.Param(0)
	v, _ := event.ParamErrno.Int(b)
	return v
}

// TestUringChain: of operations that are linked each makes its event; those behind one that failed are cancelled.
func TestUringChain(t *testing.T) {
	l := needProbe(t)
	e := &env{T: t, l: l}
	r, p := newRing(t, 0), oldPath(e)
	recs := l.uringEvents(t, []string{"renameat2", "openat", "unlinkat"}, func() {
		r.submit(t,
			sqe{Op: 35, Flags: sqeLink, FD: atFDCWD, Addr: ptr(str(p)), Len: 0xFFFFFF9C, Off: ptr(str(p + "2")), Data: 1},
			sqe{Op: 18, Flags: sqeLink, FD: atFDCWD, Addr: ptr(str(p)), Data: 2},
			sqe{Op: 36, FD: atFDCWD, Addr: ptr(str(p + "2")), Data: 3})
		for range 3 {
			r.next(t)
		}
	})
	if len(recs) != 3 {
		t.Fatal(typesOf(recs))
	}
	for i, want := range []struct {
		typ  event.Type
		res  int64
		path string
		at   int
	}{{event.SyscallRenameat2X, 0, p, 2}, {event.SyscallOpenatV2X, errno(unix.ENOENT), p, 2}, {event.SyscallUnlinkatV2X, errno(unix.ECANCELED), p + "2", 2}} {
		b, _ := recs[i].Param(want.at)
		if recs[i].Type() != want.typ || result(recs[i]) != want.res || string(b) != want.path+"\x00" || recs[i].Origin()&wasmabi.OriginExact == 0 {
			t.Errorf("event %d is %s with %d and %q, origin %d", i, recs[i].Type(), result(recs[i]), b, recs[i].Origin())
		}
	}
}

// TestUringMultishot: an operation that completes several times makes an event each time.
func TestUringMultishot(t *testing.T) {
	l := needProbe(t)
	e := &env{T: t, l: l}
	r := newRing(t, 0)
	lfd, port := listening(e, lo4)
	var fds, from []int
	recs := l.uringEvents(t, []string{"accept4"}, func() {
		r.submit(t, sqe{Op: 13, IOPrio: 1, FD: int32(lfd), Data: 77})
		for range 3 {
			out := socketFD(e, unix.AF_INET, unix.SOCK_STREAM)
			if err := unix.Connect(out, goSockaddr(lo4, port)); err != nil {
				t.Fatal(err)
			}
			c := r.next(t)
			if c.Res == int32(errno(unix.EINVAL)) {
				t.Skip("this kernel's io_uring accepts once")
			}
			from = append(from, portOf(e, out))
			fds = append(fds, int(closing(e, int64(c.Res))))
		}
	})
	if len(recs) != 3 {
		t.Fatal(typesOf(recs))
	}
	for i, rec := range recs {
		checkRecord(t, rec, []any{fds[i], tuple(lo4, from[i], lo4, port), present{}, present{}, 16, 0})
	}
}

// TestUringSilent: an operation whose success isn't told makes its event when it is submitted, and one more when the kernel tells
// of its failure, which it does of opens and not of unlinkat.
func TestUringSilent(t *testing.T) {
	l := needProbe(t)
	e := &env{T: t, l: l}
	r, p, file := newRing(t, 0), oldPath(e), fileWith(e, "")
	recs := l.uringEvents(t, []string{"unlinkat", "openat", "close", "fsync"}, func() {
		r.submit(t,
			sqe{Op: 19, Flags: sqeSilent, FD: -1, Data: 5},
			sqe{Op: 3, Flags: sqeSilent, FD: int32(file), Data: 6},
			sqe{Op: 18, Flags: sqeSilent, FD: atFDCWD, Addr: ptr(str(p)), Data: 1},
			sqe{Op: 36, Flags: sqeSilent, FD: atFDCWD, Addr: ptr(str(p)), Data: 2},
			sqe{Op: 18, Flags: sqeSilent, FD: atFDCWD, Addr: ptr(str("/nonexistent/a")), Data: 3},
			sqe{Data: 4})
		for c := r.next(t); c.Data != 4; c = r.next(t) {
			if c.Data != 3 && c.Data != 5 || c.Res == int32(errno(unix.EINVAL)) { // which ends the submission
				t.Skip("this kernel's io_uring isn't silent")
			}
		}
		time.Sleep(50 * time.Millisecond)
	})
	if len(recs) != 7 {
		t.Fatal(typesOf(recs))
	}
	for _, rec := range recs {
		name, _ := rec.Param(2)
		_, known := rec.Param(0)
		switch {
		case rec.Type() == event.GenericX:
			if b, known := rec.Param(3); known {
				t.Errorf("an fsync of which nothing is told has the result %v", b)
			}
		case rec.Type() == event.SyscallCloseX && known:
			checkRecord(t, rec, []any{errno(unix.EBADF), -1})
		case rec.Type() == event.SyscallCloseX:
			checkRecord(t, rec, []any{missing{}, -1})
		case rec.Type() == event.SyscallUnlinkatV2X:
			checkRecord(t, rec, []any{missing{}, atFDCWD, p, 0})
		case !known && string(name) == p+"\x00":
			checkRecord(t, rec, []any{missing{}, atFDCWD, p, fRdonly, 0, 0, 0})
		case !known:
			checkRecord(t, rec, []any{missing{}, atFDCWD, "/nonexistent/a", fRdonly, 0, 0, 0})
		default:
			checkRecord(t, rec, []any{errno(unix.ENOENT), atFDCWD, "/nonexistent/a", fRdonly, 0, 0, 0})
		}
	}
}

// TestUringOverflow: completions for which the queue has no room are seen.
func TestUringOverflow(t *testing.T) {
	l := needProbe(t)
	r, p := newRing(t, 0), str("/nonexistent")
	const n = 64 // the queue has 32
	recs := l.uringEvents(t, []string{"unlinkat"}, func() {
		for i := range n {
			r.submit(t, sqe{Op: 36, FD: atFDCWD, Addr: ptr(p), Data: uint64(i)})
		}
		for range n {
			r.next(t)
		}
	})
	if len(recs) != n {
		t.Errorf("%d events of %d operations", len(recs), n)
	}
}

// TestUringForgotten: an operation that was forgotten for want of room is counted when it ends, also when of the two calls that its
// kind may stand for only the second is wanted.
func TestUringForgotten(t *testing.T) {
	l := needProbe(t)
	e := &env{T: t, l: l}
	r, lost := newRing(t, 0), l.lostRequests(t)
	rd, wr := pipe(e)
	buf := addr(make([]byte, 8))
	recs := l.uringEvents(t, []string{"pread64"}, func() {
		r.submit(t, sqe{Op: 22, FD: int32(rd), Addr: ptr(buf), Len: 8, Off: 3, Data: 1}) // waits for what to read
		ops := l.p.uring.coll.Maps["uring_ops"]
		var req uint64
		var op [96]byte
		var reqs []uint64
		for it := ops.Iterate(); it.Next(&req, &op); {
			reqs = append(reqs, req)
		}
		for _, req := range reqs {
			if err := ops.Delete(&req); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				t.Fatal(err)
			}
		}
		if len(reqs) == 0 {
			t.Fatal("no operation is under way")
		}
		write(e, wr, "hello")
		if c := r.next(t); c.Res != 5 {
			t.Skipf("this kernel's io_uring gives %d", c.Res)
		}
	})
	if n := l.lostRequests(t) - lost; n != 1 || len(recs) != 0 {
		t.Errorf("%d counted as lost, %d events", n, len(recs))
	}
}

// TestUringBusy: an operation that ends, or is silent, while another program of its CPU hands over is lost and counted as that, and its
// place is free for the next.
func TestUringBusy(t *testing.T) {
	l := needProbe(t)
	e := &env{T: t, l: l}
	r, p := newRing(t, 0), oldPath(e)
	now := func() (m *ebpf.Map, all [][]byte) {
		m = l.p.uring.coll.Maps["uring_now"]
		if err := m.Lookup(uint32(0), &all); err != nil {
			t.Fatal(err)
		}
		return m, all
	}
	hold := func(n uint64) {
		t.Helper()
		m, all := now()
		for _, b := range all {
			binary.NativeEndian.PutUint64(b, n)
		}
		if err := m.Put(uint32(0), all); err != nil {
			t.Fatal(err)
		}
	}
	busy := func() uint64 {
		c, err := l.p.Counters()
		if err != nil {
			t.Fatal(err)
		}
		return c.LostByType[event.SyscallUnlinkatV2X][CauseBusy]
	}
	ops := []sqe{
		{Op: 36, FD: atFDCWD, Addr: ptr(str(p)), OpFlags: unix.AT_REMOVEDIR, Data: 1},
		{Op: 36, Flags: sqeSilent, FD: atFDCWD, Addr: ptr(str(p)), Data: 2},
	}
	before := uint64(0)
	recs := l.uringEvents(t, []string{"unlinkat"}, func() {
		before = busy()
		hold(1)
		r.submit(t, ops[0])
		if c := r.next(t); c.Res != int32(errno(unix.ENOTDIR)) {
			t.Fatal(c)
		}
		r.submit(t, ops[1], sqe{Data: 3})
		if c := r.next(t); c.Data != 3 {
			t.Skip("this kernel's io_uring isn't silent")
		}
		hold(0)
		r.submit(t, ops[0])
		r.next(t)
	})
	if n := busy() - before; n != 2 || len(recs) != 1 {
		t.Errorf("%d counted as lost, %d events; want 2 and 1", n, len(recs))
	}
	for _, rec := range recs {
		checkRecord(t, rec, []any{errno(unix.ENOENT), atFDCWD, p, unix.AT_REMOVEDIR})
	}
	if _, all := now(); slices.ContainsFunc(all, func(b []byte) bool { return binary.NativeEndian.Uint64(b) != 0 }) {
		t.Error("a place is still held")
	}
}
