package tinyelf

import (
	"bytes"
	"debug/elf"
	"testing"
)

// TestExecutable reads what is written with another reader.
func TestExecutable(t *testing.T) {
	code := Words(1, 2, 3)
	for name, want := range map[string]elf.FileHeader{
		"amd64":   {Class: elf.ELFCLASS64, Machine: elf.EM_X86_64},
		"arm64":   {Class: elf.ELFCLASS64, Machine: elf.EM_AARCH64},
		"arm":     {Class: elf.ELFCLASS32, Machine: elf.EM_ARM},
		"riscv64": {Class: elf.ELFCLASS64, Machine: elf.EM_RISCV},
		"ia32":    {Class: elf.ELFCLASS32, Machine: elf.EM_386},
	} {
		b := Executable(name, code, 0x3000)
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f.Class != want.Class || f.Machine != want.Machine || f.Type != elf.ET_EXEC || len(f.Progs) != 1 {
			t.Errorf("%s: %+v", name, f.FileHeader)
			continue
		}
		p := f.Progs[0]
		if p.Vaddr != Base || p.Memsz != 0x3000 || p.Filesz != uint64(len(b)) || p.Flags != elf.PF_R|elf.PF_W|elf.PF_X {
			t.Errorf("%s: %+v", name, p.ProgHeader)
		}
		if at := f.Entry - Base; !bytes.Equal(b[at:], code) {
			t.Errorf("%s begins at %#x, where no code is", name, f.Entry)
		}
	}
	if Executable("alpha", code, 0) != nil {
		t.Error("a program for an architecture that isn't there")
	}
	if b := Executable("amd64", code, 1); len(b) < len(code) {
		t.Error("less memory than code")
	}
}
