package loadgen

import (
	"encoding/binary"
	"runtime"
	"unsafe"
)

// exitCode is exit_group(0) in machine code, by architecture. Any ordinary program, even a static one, would make
// events of its own before it ends.
var exitCode = map[string]struct {
	machine uint16
	flags   uint32
	code    []byte
}{
	"amd64": {62, 0, []byte{
		0xb8, 0xe7, 0, 0, 0, // mov eax, 231
		0x31, 0xff, // xor edi, edi
		0x0f, 0x05, // syscall
	}},
	"arm64": {183, 0, words(
		0xd2800ba8, // mov x8, 94
		0xd2800000, // mov x0, 0
		0xd4000001, // svc 0
	)},
	"arm": {40, 0x05000000, words( // EABI version 5
		0xe3a070f8, // mov r7, 248
		0xe3a00000, // mov r0, 0
		0xef000000, // svc 0
	)},
	"riscv64": {243, 0, words(
		0x05e00893, // li a7, 94
		0x00000513, // li a0, 0
		0x00000073, // ecall
	)},
}

func words(w ...uint32) (b []byte) {
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// exitProgram returns an ELF executable that ends at once: header, one segment, code (System V ABI, chapter 4 and 5).
func exitProgram() []byte {
	const base = 0x10000
	arch := exitCode[runtime.GOARCH]
	le := binary.LittleEndian
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 15: 0}
	wide := unsafe.Sizeof(uintptr(0)) == 8
	head, seg := 64, 56
	word := le.AppendUint64
	if !wide {
		b[4], head, seg = 1, 52, 32
		word = func(b []byte, v uint64) []byte { return le.AppendUint32(b, uint32(v)) }
	}
	entry := base + head + seg
	size := uint64(head + seg + len(arch.code))
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, arch.machine)
	b = le.AppendUint32(b, 1)
	b = word(b, uint64(entry))
	b = word(b, uint64(head)) // program header
	b = word(b, 0)            // no section header
	b = le.AppendUint32(b, arch.flags)
	for _, v := range []uint16{uint16(head), uint16(seg), 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	if wide {
		b = le.AppendUint32(b, 5) // read and execute
	}
	b = word(b, 0)
	b = word(b, base)
	b = word(b, base)
	b = word(b, size)
	b = word(b, size)
	if !wide {
		b = le.AppendUint32(b, 5)
	}
	b = word(b, 0x1000)
	return append(b, arch.code...)
}
