package probe

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The kinds of an option's value, the first byte of a ParamDyn.
const optBytes, optErrno, optU32, optU64, optTime = 0, 1, 2, 3, 4

func opt32(v uint32) []byte { return binary.LittleEndian.AppendUint32([]byte{optU32}, v) }
func opt64(kind byte, v uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{kind}, v)
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// timeval is a struct timeval of the program's own word size.
func timeval(sec, usec int64) []byte {
	tv := unix.NsecToTimeval(sec*1e9 + usec*1e3)
	return bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&tv)), unsafe.Sizeof(tv)))
}

// setCase sets an option, whatever comes of it. name is its number in the event.
func setCase(what string, level, opt uintptr, val []byte, levelSeen, nameSeen int, want []byte) callCase {
	return callCase{"setsockopt", what, event.SocketSetsockoptX, func(t *env) []any {
		fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
		r := t.call("setsockopt", uintptr(fd), level, opt, addr(val), uintptr(len(val)))
		return []any{r, fd, levelSeen, nameSeen, want, len(val)}
	}}
}

// getCase asks for an option with room for n bytes; want makes of what came what the event has.
func getCase(what string, level, opt uintptr, n, levelSeen, nameSeen int, want func(got []byte) []byte) callCase {
	return callCase{"getsockopt", what, event.SocketGetsockoptX, func(t *env) []any {
		fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
		val, size := make([]byte, n+8), native32(uint32(n))
		r := t.must("getsockopt", uintptr(fd), level, opt, addr(val), addr(size))
		got := binary.NativeEndian.Uint32(size)
		return []any{r, fd, levelSeen, nameSeen, want(val[:got]), got}
	}}
}

func sockoptCases() []callCase {
	const tcp, sock = unix.IPPROTO_TCP, unix.SOL_SOCKET
	bytesOf := func(got []byte) []byte { return append([]byte{optBytes}, got...) }
	u32Of := func(got []byte) []byte { return opt32(binary.NativeEndian.Uint32(got)) }
	zeros := func(n int) []byte { return make([]byte, n) }
	const passcred, meminfo, peergroups, timeoNew = 16, 55, 59, 66
	newTime := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, 3), 7)
	cases := []callCase{
		setCase("number", sock, unix.SO_REUSEADDR, native32(1), 1, 2, opt32(1)),
		setCase("number, forced", sock, unix.SO_SNDBUFFORCE, native32(65536), 1, 0x20, opt32(65536)),
		setCase("number, the last", sock, unix.SO_INCOMING_CPU, native32(0), 1, 0x31, opt32(0)),
		setCase("time", sock, unix.SO_RCVTIMEO, timeval(2, 500), 1, 0x14, opt64(optTime, 2e9+500e3)),
		setCase("time, the other", sock, unix.SO_SNDTIMEO, timeval(0, 1), 1, 0x15, opt64(optTime, 1e3)),
		setCase("time, new", sock, timeoNew, newTime, 1, 0x14, opt64(optTime, 3e9+7e3)),
		setCase("time, the other new", sock, timeoNew+1, newTime, 1, 0x15, opt64(optTime, 3e9+7e3)),
		setCase("bytes", sock, unix.SO_LINGER, append(native32(1), native32(9)...), 1, 0xd, append(append([]byte{optBytes}, native32(1)...), native32(9)...)),
		setCase("of no name in the format", sock, unix.SO_ZEROCOPY, native32(1), 1, 0, append([]byte{optBytes}, native32(1)...)),
		setCase("TCP", tcp, unix.TCP_NODELAY, native32(1), 2, 0, append([]byte{optBytes}, native32(1)...)),
		setCase("another level", unix.IPPROTO_IP, unix.IP_TOS, native32(8), 0, 0, append([]byte{optBytes}, native32(8)...)),
		setCase("an option that isn't", sock, 9999, native32(8), 1, 0, append([]byte{optBytes}, native32(8)...)),
		setCase("none", sock, 0, nil, 1, 0, []byte{optBytes}),
		{"setsockopt", "long", event.SocketSetsockoptX, func(t *env) []any {
			fd, val := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), digits(6000)
			t.origin = wasmabi.OriginCut
			r := t.call("setsockopt", uintptr(fd), unix.IPPROTO_IP, 9999, addr(val), 6000)
			return []any{r, fd, 0, 0, append([]byte{optBytes}, val[:4095]...), 6000}
		}},
		{"setsockopt", "bad address", event.SocketSetsockoptX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			t.call("setsockopt", uintptr(fd), sock, unix.SO_LINGER, 1, 8)
			return []any{errno(unix.EFAULT), fd, 1, 0xd, []byte{optBytes}, 8}
		}},
		{"setsockopt", "bad fd", event.SocketSetsockoptX, func(t *env) []any {
			t.call("setsockopt", ^uintptr(0), sock, unix.SO_MARK, addr(native32(5)), 4)
			return []any{errno(unix.EBADF), -1, 1, 0x24, opt32(5), 4}
		}},
		getCase("number", sock, unix.SO_RCVBUF, 4, 1, 8, u32Of),
		getCase("type", sock, unix.SO_TYPE, 4, 1, 3, u32Of),
		getCase("cookie", sock, unix.SO_COOKIE, 8, 1, 0x35, func(got []byte) []byte { return opt64(optU64, binary.NativeEndian.Uint64(got)) }),
		getCase("time", sock, unix.SO_RCVTIMEO, len(timeval(0, 0)), 1, 0x14, func([]byte) []byte { return opt64(optTime, 0) }),
		getCase("memory", sock, meminfo, 64, 1, 0x34, bytesOf),
		getCase("no error", sock, unix.SO_ERROR, 4, 1, 4, func([]byte) []byte { return opt64(optErrno, 0) }),
		getCase("TCP", tcp, unix.TCP_MAXSEG, 4, 2, 0, bytesOf),
		{"getsockopt", "an error", event.SocketGetsockoptX, func(t *env) []any {
			lfd, port := listening(t, lo4)
			unix.Close(lfd)
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			_, udp := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM), port
			if err := unix.Connect(fd, goSockaddr(lo4, udp)); err != nil {
				t.Fatal(err)
			}
			if _, err := unix.Write(fd, []byte("nobody is there")); err != nil {
				t.Fatal(err)
			}
			val := zeros(4)
			r := t.must("getsockopt", uintptr(fd), sock, unix.SO_ERROR, addr(val), addr(native32(4)))
			if e := binary.NativeEndian.Uint32(val); e != uint32(unix.ECONNREFUSED) {
				t.Fatalf("the socket's error is %d", e)
			}
			return []any{r, fd, 1, 4, opt64(optErrno, uint64(errno(unix.ECONNREFUSED))), 4}
		}},
		{"getsockopt", "bad length", event.SocketGetsockoptX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			t.call("getsockopt", uintptr(fd), sock, passcred, addr(native32(77)), 1)
			return []any{errno(unix.EFAULT), fd, 1, 0x10, opt32(77), 0}
		}},
		{"getsockopt", "peer's groups, of no peer", event.SocketGetsockoptX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			r := t.call("getsockopt", uintptr(fd), sock, peergroups, addr(digits(6)), addr(native32(6)))
			return []any{r, fd, 1, 0x33, append([]byte{optBytes}, digits(6)...), 6}
		}},
	}
	return cases
}

func TestSockopt(t *testing.T) { runCases(t, sockoptCases()) }
