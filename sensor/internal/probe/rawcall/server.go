package rawcall

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/shikra-sensor/shikra/sensor/internal/tinyelf"
)

// Where a server's program has its request, and how many bytes that takes: the number and six arguments in words of its
// architecture, and data.
const (
	requestAt   = 0x20000
	requestSize = 1024
	answerSize  = 8
)

// Server is a process that makes the system calls it is told to, in a program of its own architecture and a few
// instructions. Its own calls are read(0, requestAt, requestSize), write(1, requestAt, answerSize) and getpid. It has one
// thread, a session and namespaces of its own (mount, UTS, IPC, network, pid), and ends with its input. A child that a
// call makes ends at once.
type Server struct {
	PID  int // as its parent sees it
	wide bool
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.ReadCloser
}

// Start starts a server for an architecture (amd64, arm64, arm, ia32) from a file that it makes in dir. The error is
// that of exec where the kernel doesn't run such programs.
func Start(arch, dir string) (*Server, error) {
	name, err := Program(arch, dir)
	if err != nil {
		return nil, err
	}
	s := &Server{wide: wide(arch), cmd: exec.Command(name)}
	s.cmd.Env = []string{}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
	}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if s.out, err = s.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err = s.cmd.Start(); err != nil {
		return nil, err
	}
	s.PID = s.cmd.Process.Pid
	return s, nil
}

// Program makes a server's program in dir, and returns its path.
func Program(arch, dir string) (string, error) {
	code, ok := serverCode[arch]
	if !ok {
		return "", fmt.Errorf("make a server for %s: there is no code for it", arch)
	}
	name := filepath.Join(dir, "server-"+arch)
	if err := os.WriteFile(name, tinyelf.Executable(arch, code, requestAt+0x2000-tinyelf.Base), 0o700); err != nil {
		return "", fmt.Errorf("make a server: %w", err)
	}
	return name, nil
}

func wide(arch string) bool { return arch == "amd64" || arch == "arm64" }

// Exec tells the server to replace its program by that of another server, which goes on with its input and output. nr is
// the number of execve, or of execveat when at is set. How it went is seen by a call to the new program.
func (s *Server) Exec(nr uint32, at bool, arch, program string) error {
	path := append([]byte(program), make([]byte, 16)...) // a NUL, and what makes room to align
	path = path[:len(path)&^7]
	argv := s.Data() + uint64(len(path))
	pointers := make([]byte, 2*s.word()) // the path, and the end of the list, where the environment's is too
	if s.wide {
		binary.LittleEndian.PutUint64(pointers, s.Data())
	} else {
		binary.LittleEndian.PutUint32(pointers, uint32(s.Data()))
	}
	args := [6]uint64{s.Data(), argv, argv + uint64(s.word())}
	if at {
		args = [6]uint64{1<<64 - 100, s.Data(), argv, argv + uint64(s.word())} // AT_FDCWD
	}
	if err := s.Send(nr, args, append(path, pointers...)); err != nil {
		return err
	}
	s.wide = wide(arch)
	return nil
}

// Data is where the data of a call lies in the server's memory.
func (s *Server) Data() uint64 { return requestAt + 7*uint64(s.word()) }

func (s *Server) word() int {
	if s.wide {
		return 8
	}
	return 4
}

// Send tells the server to make a call. data, of less than 900 bytes, lies in its memory at Data.
func (s *Server) Send(nr uint32, args [6]uint64, data []byte) error {
	b := make([]byte, 0, requestSize)
	for _, v := range append([]uint64{uint64(nr)}, args[:]...) {
		if s.wide {
			b = binary.LittleEndian.AppendUint64(b, v)
		} else {
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		}
	}
	if len(b)+len(data) > requestSize {
		return fmt.Errorf("%d bytes of data: more than a request holds", len(data))
	}
	b = append(b, data...)
	_, err := s.in.Write(b[:requestSize])
	return err
}

// Result waits for what the call returned; -errno for a failure. The error is io.EOF when the server ended instead.
func (s *Server) Result() (int64, error) {
	var b [answerSize]byte
	if _, err := io.ReadFull(s.out, b[:]); err != nil {
		return 0, err
	}
	if s.wide {
		return int64(binary.LittleEndian.Uint64(b[:])), nil
	}
	return int64(int32(binary.LittleEndian.Uint32(b[:]))), nil
}

// Kill ends the server in the midst of a call.
func (s *Server) Kill() { _ = s.cmd.Process.Kill() } // it has ended: so much the better

// Close ends the server, and waits for its end, however it comes.
func (s *Server) Close() {
	s.in.Close()
	_ = s.cmd.Wait() // how it ended tells nothing
}

// serverCode is the server's program, begun with getpid, whose result it keeps: where that is another after a call, this
// is a child, and ends. The registers are set from the request, and the result goes where the request began.
var serverCode = map[string][]byte{
	"amd64": {
		0xb8, 0x27, 0, 0, 0, // mov eax, 39 (getpid)
		0x0f, 0x05, // syscall
		0x41, 0x89, 0xc7, // mov r15d, eax
		0xbb, 0, 0, 0x02, 0, // mov ebx, requestAt
		// loop:
		0x31, 0xc0, // xor eax, eax (read)
		0x31, 0xff, // xor edi, edi
		0x48, 0x89, 0xde, // mov rsi, rbx
		0xba, 0, 0x04, 0, 0, // mov edx, requestSize
		0x0f, 0x05, // syscall
		0x3d, 0, 0x04, 0, 0, // cmp eax, requestSize
		0x75, 0x42, // jne exit
		0x48, 0x8b, 0x03, // mov rax, [rbx]
		0x48, 0x8b, 0x7b, 0x08, // mov rdi, [rbx+8]
		0x48, 0x8b, 0x73, 0x10, // mov rsi, [rbx+16]
		0x48, 0x8b, 0x53, 0x18, // mov rdx, [rbx+24]
		0x4c, 0x8b, 0x53, 0x20, // mov r10, [rbx+32]
		0x4c, 0x8b, 0x43, 0x28, // mov r8, [rbx+40]
		0x4c, 0x8b, 0x4b, 0x30, // mov r9, [rbx+48]
		0x0f, 0x05, // syscall
		0x48, 0x89, 0x03, // mov [rbx], rax
		0xb8, 0x27, 0, 0, 0, // mov eax, 39 (getpid)
		0x0f, 0x05, // syscall
		0x44, 0x39, 0xf8, // cmp eax, r15d
		0x75, 0x16, // jne exit
		0xb8, 0x01, 0, 0, 0, // mov eax, 1 (write)
		0xbf, 0x01, 0, 0, 0, // mov edi, 1
		0x48, 0x89, 0xde, // mov rsi, rbx
		0xba, 0x08, 0, 0, 0, // mov edx, answerSize
		0x0f, 0x05, // syscall
		0xeb, 0xa9, // jmp loop
		// exit:
		0xb8, 0xe7, 0, 0, 0, // mov eax, 231 (exit_group)
		0x31, 0xff, // xor edi, edi
		0x0f, 0x05, // syscall
	},
	"ia32": {
		0xb8, 0x14, 0, 0, 0, // mov eax, 20 (getpid)
		0xcd, 0x80, // int 0x80
		0xa3, 0, 0x10, 0x02, 0, // mov [requestAt+0x1000], eax
		// loop:
		0xb8, 0x03, 0, 0, 0, // mov eax, 3 (read)
		0x31, 0xdb, // xor ebx, ebx
		0xb9, 0, 0, 0x02, 0, // mov ecx, requestAt
		0xba, 0, 0x04, 0, 0, // mov edx, requestSize
		0xcd, 0x80, // int 0x80
		0x3d, 0, 0x04, 0, 0, // cmp eax, requestSize
		0x75, 0x44, // jne exit
		0xba, 0, 0, 0x02, 0, // mov edx, requestAt
		0x8b, 0x02, // mov eax, [edx]
		0x8b, 0x5a, 0x04, // mov ebx, [edx+4]
		0x8b, 0x4a, 0x08, // mov ecx, [edx+8]
		0x8b, 0x72, 0x10, // mov esi, [edx+16]
		0x8b, 0x7a, 0x14, // mov edi, [edx+20]
		0x8b, 0x6a, 0x18, // mov ebp, [edx+24]
		0x8b, 0x52, 0x0c, // mov edx, [edx+12]
		0xcd, 0x80, // int 0x80
		0xb9, 0, 0, 0x02, 0, // mov ecx, requestAt
		0x89, 0x01, // mov [ecx], eax
		0xb8, 0x14, 0, 0, 0, // mov eax, 20 (getpid)
		0xcd, 0x80, // int 0x80
		0x3b, 0x05, 0, 0x10, 0x02, 0, // cmp eax, [requestAt+0x1000]
		0x75, 0x13, // jne exit
		0xb8, 0x04, 0, 0, 0, // mov eax, 4 (write)
		0xbb, 0x01, 0, 0, 0, // mov ebx, 1
		0xba, 0x08, 0, 0, 0, // mov edx, answerSize
		0xcd, 0x80, // int 0x80
		0xeb, 0xa2, // jmp loop
		// exit:
		0xb8, 0x01, 0, 0, 0, // mov eax, 1 (exit)
		0x31, 0xdb, // xor ebx, ebx
		0xcd, 0x80, // int 0x80
	},
	"arm64": tinyelf.Words(
		0xd2801588, // mov x8, 172 (getpid)
		0xd4000001, // svc 0
		0xaa0003f4, // mov x20, x0
		0xd2a00053, // mov x19, requestAt
		// loop:
		0xd28007e8, // mov x8, 63 (read)
		0xd2800000, // mov x0, 0
		0xaa1303e1, // mov x1, x19
		0xd2808002, // mov x2, requestSize
		0xd4000001, // svc 0
		0xf110001f, // cmp x0, requestSize
		0x54000221, // b.ne exit
		0xa9400268, // ldp x8, x0, [x19]
		0xa9410a61, // ldp x1, x2, [x19, 16]
		0xa9421263, // ldp x3, x4, [x19, 32]
		0xf9401a65, // ldr x5, [x19, 48]
		0xd4000001, // svc 0
		0xf9000260, // str x0, [x19]
		0xd2801588, // mov x8, 172 (getpid)
		0xd4000001, // svc 0
		0xeb14001f, // cmp x0, x20
		0x540000e1, // b.ne exit
		0xd2800808, // mov x8, 64 (write)
		0xd2800020, // mov x0, 1
		0xaa1303e1, // mov x1, x19
		0xd2800102, // mov x2, answerSize
		0xd4000001, // svc 0
		0x17ffffea, // b loop
		// exit:
		0xd2800bc8, // mov x8, 94 (exit_group)
		0xd2800000, // mov x0, 0
		0xd4000001, // svc 0
	),
	"arm": tinyelf.Words(
		0xe3a07014, // mov r7, 20 (getpid)
		0xef000000, // svc 0
		0xe1a09000, // mov r9, r0
		0xe3a08802, // mov r8, requestAt
		// loop:
		0xe3a07003, // mov r7, 3 (read)
		0xe3a00000, // mov r0, 0
		0xe1a01008, // mov r1, r8
		0xe3a02b01, // mov r2, requestSize
		0xef000000, // svc 0
		0xe3500b01, // cmp r0, requestSize
		0x1a000012, // bne exit
		0xe5987000, // ldr r7, [r8]
		0xe5980004, // ldr r0, [r8, 4]
		0xe5981008, // ldr r1, [r8, 8]
		0xe598200c, // ldr r2, [r8, 12]
		0xe5983010, // ldr r3, [r8, 16]
		0xe5984014, // ldr r4, [r8, 20]
		0xe5985018, // ldr r5, [r8, 24]
		0xef000000, // svc 0
		0xe5880000, // str r0, [r8]
		0xe3a07014, // mov r7, 20 (getpid)
		0xef000000, // svc 0
		0xe1500009, // cmp r0, r9
		0x1a000005, // bne exit
		0xe3a07004, // mov r7, 4 (write)
		0xe3a00001, // mov r0, 1
		0xe1a01008, // mov r1, r8
		0xe3a02008, // mov r2, answerSize
		0xef000000, // svc 0
		0xeaffffe5, // b loop
		// exit:
		0xe3a070f8, // mov r7, 248 (exit_group)
		0xe3a00000, // mov r0, 0
		0xef000000, // svc 0
	),
}
