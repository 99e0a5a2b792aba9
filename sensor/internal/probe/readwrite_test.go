package probe

import (
	"bytes"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// digits returns n bytes of which no ten that follow each other are the same as the ten before.
func digits(n int) []byte {
	b := make([]byte, 0, n+20)
	for i := 0; len(b) < n; i++ {
		b = append(b, byte('a'+i%26))
		b = append(b, "123456789"...)
	}
	return b[:n]
}

// rwFile opens a new file that holds content.
func rwFile(t *env, content []byte) uintptr {
	t.Helper()
	p := newPath(t)
	if err := os.WriteFile(p, content, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(p, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return uintptr(fd)
}

// iovecs returns the address of an array of struct iovec, which stays until the program ends.
func iovecs(pieces ...[]byte) uintptr {
	iov := make([]unix.Iovec, len(pieces)+1)
	for i, p := range pieces {
		iov[i].Base = unsafe.SliceData(p)
		iov[i].SetLen(len(p))
		addr(p)
	}
	keptIovecs = append(keptIovecs, iov)
	return uintptr(unsafe.Pointer(&iov[0]))
}

var keptIovecs [][]unix.Iovec

func pieces(n, size int) [][]byte {
	var out [][]byte
	for b := digits(n * size); len(b) > 0; b = b[size:] {
		out = append(out, b[:size])
	}
	return out
}

func readCases() []callCase {
	const snap = DefaultSnapLen
	return []callCase{
		{"read", "all", event.SyscallReadX, func(t *env) []any {
			fd := rwFile(t, []byte("hello"))
			r := t.must("read", fd, addr(make([]byte, 32)), 32)
			return []any{r, []byte("hello"), fd, 32}
		}},
		{"read", "long", event.SyscallReadX, func(t *env) []any {
			fd := rwFile(t, digits(300))
			t.origin = wasmabi.OriginCut
			r := t.must("read", fd, addr(make([]byte, 200)), 200)
			return []any{r, digits(snap), fd, 200}
		}},
		{"read", "end of file", event.SyscallReadX, func(t *env) []any {
			fd := rwFile(t, nil)
			return []any{t.must("read", fd, addr(make([]byte, 8)), 8), []byte{}, fd, 8}
		}},
		{"read", "bad fd", event.SyscallReadX, func(t *env) []any {
			t.call("read", ^uintptr(0), str("before"), 6)
			return []any{errno(unix.EBADF), missing{}, -1, 6}
		}},
		{"pread64", "all", event.SyscallPreadX, func(t *env) []any {
			fd := rwFile(t, []byte("0123456789"))
			r := t.must("pread64", fd, addr(make([]byte, 32)), 32, 4)
			return []any{r, []byte("456789"), fd, 32, 4}
		}},
		{"pread64", "negative", event.SyscallPreadX, func(t *env) []any {
			fd := rwFile(t, nil)
			t.call("pread64", fd, addr(make([]byte, 8)), 8, ^uintptr(1))
			return []any{errno(unix.EINVAL), missing{}, fd, 8, -2}
		}},
		{"readv", "pieces", event.SyscallReadvX, func(t *env) []any {
			fd := rwFile(t, []byte("one two three"))
			r := t.must("readv", fd, iovecs(make([]byte, 4), make([]byte, 0), make([]byte, 4), make([]byte, 32)), 4)
			return []any{r, 13, []byte("one two three"), fd}
		}},
		{"readv", "long", event.SyscallReadvX, func(t *env) []any {
			fd := rwFile(t, digits(300))
			t.origin = wasmabi.OriginCut
			r := t.must("readv", fd, iovecs(make([]byte, 50), make([]byte, 100)), 2)
			return []any{r, 150, digits(snap), fd}
		}},
		{"readv", "many pieces", event.SyscallReadvX, func(t *env) []any {
			fd := rwFile(t, digits(300))
			t.origin = wasmabi.OriginCut
			p := pieces(40, 1)
			r := t.must("readv", fd, iovecs(p...), 40)
			return []any{r, 40, digits(32), fd}
		}},
		{"readv", "bad address", event.SyscallReadvX, func(t *env) []any {
			fd := rwFile(t, []byte("x"))
			t.call("readv", fd, 1, 2)
			return []any{errno(unix.EFAULT), 0, missing{}, fd}
		}},
		{"preadv", "pieces", event.SyscallPreadvX, func(t *env) []any {
			fd := rwFile(t, digits(300))
			r := t.must("preadv", fd, iovecs(make([]byte, 10), make([]byte, 20)), 2, 20, 0)
			return []any{r, 30, digits(50)[20:], fd, 20}
		}},
		{"preadv", "end of file", event.SyscallPreadvX, func(t *env) []any {
			fd := rwFile(t, nil)
			return []any{t.must("preadv", fd, iovecs(make([]byte, 10)), 1, 1<<31, 0), 0, []byte{}, fd, 1 << 31}
		}},
		{"preadv", "bad fd", event.SyscallPreadvX, func(t *env) []any {
			t.call("preadv", badFD, iovecs(make([]byte, 10)), 1, 7, 0)
			return []any{errno(unix.EBADF), 0, missing{}, badFD, 7}
		}},

		{"write", "all", event.SyscallWriteX, func(t *env) []any {
			fd := rwFile(t, nil)
			return []any{t.must("write", fd, str("hello"), 5), []byte("hello"), fd, 5}
		}},
		{"write", "long", event.SyscallWriteX, func(t *env) []any {
			t.origin = wasmabi.OriginCut
			fd := rwFile(t, nil)
			return []any{t.must("write", fd, addr(digits(200)), 200), digits(snap), fd, 200}
		}},
		{"write", "nothing", event.SyscallWriteX, func(t *env) []any {
			fd := rwFile(t, nil)
			return []any{t.must("write", fd, str("hello"), 0), []byte{}, fd, 0}
		}},
		{"write", "bad fd", event.SyscallWriteX, func(t *env) []any {
			t.call("write", badFD, str("lost"), 4)
			return []any{errno(unix.EBADF), []byte("lost"), badFD, 4}
		}},
		{"write", "bad address", event.SyscallWriteX, func(t *env) []any {
			fd := rwFile(t, nil)
			t.call("write", fd, 1, 4)
			return []any{errno(unix.EFAULT), missing{}, fd, 4}
		}},
		{"write", "part", event.SyscallWriteX, func(t *env) []any {
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			closing(t, int64(p[0]))
			closing(t, int64(p[1]))
			n, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 4096)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := unix.Write(p[1], make([]byte, n-os.Getpagesize())); n > os.Getpagesize() && err != nil {
				t.Fatal(err)
			}
			t.origin = wasmabi.OriginCut
			r := t.must("write", uintptr(p[1]), addr(digits(2*os.Getpagesize())), uintptr(2*os.Getpagesize()))
			if r != int64(os.Getpagesize()) {
				t.Fatalf("wrote %d bytes", r)
			}
			return []any{r, digits(snap), p[1], 2 * os.Getpagesize()}
		}},
		{"pwrite64", "all", event.SyscallPwriteX, func(t *env) []any {
			fd := rwFile(t, nil)
			return []any{t.must("pwrite64", fd, str("hello"), 5, 1<<31), []byte("hello"), fd, 5, 1 << 31}
		}},
		{"pwrite64", "negative", event.SyscallPwriteX, func(t *env) []any {
			fd := rwFile(t, nil)
			t.call("pwrite64", fd, str("hello"), 5, ^uintptr(0))
			return []any{errno(unix.EINVAL), []byte("hello"), fd, 5, -1}
		}},
		{"writev", "pieces", event.SyscallWritevX, func(t *env) []any {
			fd := rwFile(t, nil)
			r := t.must("writev", fd, iovecs([]byte("one "), []byte("two "), nil, []byte("three")), 4)
			return []any{r, []byte("one two three"), fd, 13}
		}},
		{"writev", "long", event.SyscallWritevX, func(t *env) []any {
			fd := rwFile(t, nil)
			t.origin = wasmabi.OriginCut
			r := t.must("writev", fd, iovecs(digits(50), digits(100)), 2)
			return []any{r, append(bytes.Clone(digits(50)), digits(snap-50)...), fd, 150}
		}},
		{"writev", "many pieces", event.SyscallWritevX, func(t *env) []any {
			fd := rwFile(t, nil)
			r := t.must("writev", fd, iovecs(pieces(32, 2)...), 32)
			return []any{r, digits(64), fd, 64}
		}},
		{"writev", "fails", event.SyscallWritevX, func(t *env) []any {
			t.call("writev", badFD, iovecs([]byte("one "), []byte("two")), 2)
			return []any{errno(unix.EBADF), []byte("one two"), badFD, 7}
		}},
		{"writev", "a bad piece", event.SyscallWritevX, func(t *env) []any {
			t.origin = wasmabi.OriginCut
			bad := unsafe.Slice((*byte)(nil), 0)
			iov := []unix.Iovec{{}, {}, {}}
			a, b := []byte("one "), []byte("three")
			iov[0].Base, iov[2].Base = &a[0], &b[0]
			iov[0].SetLen(len(a))
			iov[1].Base = unsafe.SliceData(bad)
			iov[1].SetLen(7)
			iov[2].SetLen(len(b))
			addr(a)
			addr(b)
			keptIovecs = append(keptIovecs, iov)
			t.call("writev", badFD, uintptr(unsafe.Pointer(&iov[0])), 3)
			return []any{errno(unix.EBADF), []byte("one "), badFD, 16}
		}},
		{"writev", "bad address", event.SyscallWritevX, func(t *env) []any {
			fd := rwFile(t, nil)
			t.call("writev", fd, 1, 1)
			return []any{errno(unix.EFAULT), []byte{}, fd, 0}
		}},
		{"pwritev", "pieces", event.SyscallPwritevX, func(t *env) []any {
			fd := rwFile(t, nil)
			r := t.must("pwritev", fd, iovecs([]byte("one "), []byte("two")), 2, 99, 0)
			return []any{r, []byte("one two"), fd, 7, 99}
		}},
		{"pwritev", "bad fd", event.SyscallPwritevX, func(t *env) []any {
			t.call("pwritev", badFD, iovecs([]byte("one "), []byte("two")), 2, 1, 0)
			return []any{errno(unix.EBADF), []byte("one two"), badFD, 7, 1}
		}},
	}
}

func TestReadWrite(t *testing.T) { runCases(t, readCases()) }
