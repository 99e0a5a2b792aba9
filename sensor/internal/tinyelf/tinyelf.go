// Package tinyelf writes static executables of a few bytes, for tests and the load generator: any ordinary program, even a
// static one, makes system calls of its own before it does what it is for.
package tinyelf

import "encoding/binary"

// Base is where a program's first byte lies in memory: no lower address may be mapped (vm.mmap_min_addr).
const Base = 0x10000

// arch is what an ELF header says of an architecture.
type arch struct {
	machine uint16
	flags   uint32
	wide    bool // 64 bits
}

// arches are those that programs can be made for, by the names of event.Syscall's columns.
var arches = map[string]arch{
	"amd64":   {62, 0, true},
	"arm64":   {183, 0, true},
	"arm":     {40, 0x05000000, false}, // EABI version 5
	"riscv64": {243, 0, true},
	"ia32":    {3, 0, false},
}

// Executable returns a program for an architecture (amd64, arm64, arm, riscv64, ia32; nil for another) that begins with the
// first byte of code: an ELF header and one segment (System V ABI, chapters 4 and 5), which may be read, written and run
// and takes memory bytes from Base on, at least what the file has.
func Executable(name string, code []byte, memory int) []byte {
	a, ok := arches[name]
	if !ok {
		return nil
	}
	le := binary.LittleEndian
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 15: 0}
	head, seg := 64, 56
	word := le.AppendUint64
	if !a.wide {
		b[4], head, seg = 1, 52, 32
		word = func(b []byte, v uint64) []byte { return le.AppendUint32(b, uint32(v)) }
	}
	size := head + seg + len(code)
	const access = 7          // read, write, execute
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, a.machine)
	b = le.AppendUint32(b, 1)
	b = word(b, uint64(Base+head+seg)) // where it begins
	b = word(b, uint64(head))          // program header
	b = word(b, 0)                     // no section header
	b = le.AppendUint32(b, a.flags)
	for _, v := range []uint16{uint16(head), uint16(seg), 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	if a.wide {
		b = le.AppendUint32(b, access)
	}
	b = word(b, 0)
	b = word(b, Base)
	b = word(b, Base)
	b = word(b, uint64(size))
	b = word(b, uint64(max(size, memory)))
	if !a.wide {
		b = le.AppendUint32(b, access)
	}
	b = word(b, 0x1000)
	return append(b, code...)
}

// Words returns 32-bit instructions as bytes.
func Words(w ...uint32) (b []byte) {
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
