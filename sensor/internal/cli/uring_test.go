package cli

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// uringRules alert on what the test does, by rules that don't know of io_uring, and on the marks.
const uringRules = `
- rule: Shadow opened
  desc: by whatever way, and as rules commonly ask for it
  condition: evt.type in (open, openat, openat2) and evt.is_open_read = true and evt.failed = false and fd.typechar = f and fd.num >= 0 and fd.name = /etc/shadow
  output: 'ring=%evt.is_io_uring name=%proc.name fd=%fd.num result=%evt.res path=%evt.arg.name'
  priority: ERROR
- rule: Known file changed
  desc: the fd is known by the name it was opened by
  condition: evt.type = fchmod and fd.name = PATH
  output: 'ring=%evt.is_io_uring result=%evt.res'
  priority: ERROR
`

// Flags of an entry.
const sqeFixedFile, sqeSilent = 1, 64

// uringDo makes one operation on the ring fd, whose queues are mem and sqes, and returns its result, or 0 for a silent one. The offsets
// are those of struct io_uring_params.
func uringDo(t *testing.T, fd int, params []uint32, mem, sqes []byte, op uint8, opFD int32, addr uintptr, flags uint32, more ...func(e []byte)) int32 {
	t.Helper()
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&mem[off])) }
	tail := atomic.LoadUint32(word(params[11]))
	i := tail & *word(params[12])
	e := sqes[64*i : 64*i+64]
	clear(e)
	e[0] = op
	binary.NativeEndian.PutUint32(e[4:], uint32(opFD))
	binary.NativeEndian.PutUint64(e[16:], uint64(addr))
	binary.NativeEndian.PutUint32(e[28:], flags)
	for _, fn := range more {
		fn(e)
	}
	*word(params[16] + 4*i) = i
	atomic.StoreUint32(word(params[11]), tail+1)
	head := atomic.LoadUint32(word(params[20]))
	wait := uintptr(1)
	if e[1]&sqeSilent != 0 {
		wait = 0
	}
	if _, _, err := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), 1, wait, wait, 0, 0); err != 0 {
		t.Fatal(err)
	}
	if wait == 0 {
		return 0
	}
	for end := time.Now().Add(10 * time.Second); head == atomic.LoadUint32(word(params[21])); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("an operation doesn't come to its end")
		}
	}
	res := int32(*word(params[25] + 16*(head&*word(params[22])) + 8))
	atomic.StoreUint32(word(params[20]), head+1)
	return res
}

// TestUringRules: a rule on openat matches an open through io_uring; state knows the fd by its name, until a ring closes it.
func TestUringRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var params [30]uint32
	ring, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0)
	if e == unix.ENOSYS || e == unix.EPERM {
		t.Skipf("no io_uring here: %v", e)
	}
	if e != 0 {
		t.Fatal(e)
	}
	fd := int(ring)
	defer unix.Close(fd)
	mem, err := unix.Mmap(fd, 0, int(max(params[16]+4*params[0], params[25]+16*params[1])), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	sqes, err := unix.Mmap(fd, 0x10000000, int(64*params[0]), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(sqes)
	const openat, closeFD = 18, 19
	open := func(name string) int {
		b := append([]byte(name), 0)
		// Memory that isn't the stack's, which may move.
		m, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		copy(m, b)
		defer unix.Munmap(m)
		n := uringDo(t, fd, params[:], mem, sqes, openat, unix.AT_FDCWD, uintptr(unsafe.Pointer(&m[0])), unix.O_RDONLY|unix.O_CLOEXEC)
		if n < 0 {
			t.Fatalf("open %s: %v", name, unix.Errno(-n))
		}
		return int(n)
	}

	r := startSensor(t, strings.ReplaceAll(uringRules, "PATH", path)) // after the ring: it is older than the sensor
	file := open(path)
	if err := unix.Fchmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if n := uringDo(t, fd, params[:], mem, sqes, closeFD, int32(file), 0, 0); n != 0 {
		t.Fatalf("close: %v", unix.Errno(-n))
	}
	if err := unix.Fchmod(file, 0o600); err != unix.EBADF {
		t.Fatalf("fchmod of what is closed: %v", err)
	}
	shadow := open("/etc/shadow")
	unix.Close(shadow)
	r.until("an alert about /etc/shadow", func() bool { return len(r.toldBy("Shadow opened")) > 0 })
	want := fmt.Sprintf("ring=true name=cli.test fd=%d result=SUCCESS path=/etc/shadow", shadow)
	if as := r.toldBy("Shadow opened"); len(as) != 1 || !strings.Contains(as[0].Output, want) {
		t.Errorf("%+v, not %q", as, want)
	}
	// One that is closed in silence is gone when somebody has looked; the mark is known all the time.
	mark, silent := open(path), open(path)
	defer unix.Close(mark)
	uringDo(t, fd, params[:], mem, sqes, closeFD, int32(silent), 0, 0, func(e []byte) { e[1] = sqeSilent })
	r.until("the fd closed in silence is gone", func() bool {
		n := len(r.toldBy("Known file changed"))
		if err := unix.Fchmod(silent, 0o600); err != unix.EBADF {
			t.Fatalf("fchmod of what is closed in silence: %v", err)
		}
		if err := unix.Fchmod(mark, 0o600); err != nil {
			t.Fatal(err)
		}
		r.until("the mark is told of", func() bool { return len(r.toldBy("Known file changed")) > n })
		as := r.toldBy("Known file changed")[n:]
		return len(as) == 1 && strings.Contains(as[0].Output, "SUCCESS")
	})
	known := len(r.toldBy("Known file changed"))
	// What becomes no fd, or doesn't tell which one, is an open all the same.
	const register, install = 2, 54
	none := [1]int32{-1}
	if _, _, err := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(fd), register, uintptr(unsafe.Pointer(&none)), 1, 0, 0); err != 0 {
		t.Fatal(err)
	}
	directly := func(e []byte) { binary.NativeEndian.PutUint32(e[44:], 1) }
	openBy := func(name string, how func(e []byte)) int32 {
		m, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		copy(m, name)
		t.Cleanup(func() { _ = unix.Munmap(m) })
		return uringDo(t, fd, params[:], mem, sqes, openat, unix.AT_FDCWD, uintptr(unsafe.Pointer(&m[0])), unix.O_RDONLY, how)
	}
	if n := openBy("/etc/shadow", directly); n != 0 {
		t.Skipf("opens of registered files: %v", unix.Errno(-n))
	}
	openBy("/etc/shadow", func(e []byte) { e[1] = sqeSilent })
	r.until("alerts about three opens", func() bool { return len(r.toldBy("Shadow opened")) >= 3 })
	for i, fd := range []int{shadow, 1 << 30, 1 << 30} {
		want := fmt.Sprintf("ring=true name=cli.test fd=%d result=SUCCESS path=/etc/shadow", fd)
		if as := r.toldBy("Shadow opened"); len(as) != 3 || !strings.Contains(as[i].Output, want) {
			t.Errorf("%+v, not %q", as, want)
		}
	}
	// An fd of a registered file is known by its event.
	openBy(path, directly)
	if n := uringDo(t, fd, params[:], mem, sqes, install, 0, 0, 0, func(e []byte) { e[1] = sqeFixedFile }); n >= 0 {
		_ = unix.Fchmod(int(n), 0o604)
		unix.Close(int(n))
		r.until("the fd of a registered file is known", func() bool { return len(r.toldBy("Known file changed")) > known })
	} else if n != -int32(unix.EINVAL) {
		t.Errorf("install an fd: %v", unix.Errno(-n))
	}
	if as := r.toldBy("Known file changed"); len(as) == 0 || !strings.Contains(as[0].Output, "ring=false result=SUCCESS") {
		t.Errorf("%+v", as)
	}
}
