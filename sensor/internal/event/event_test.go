package event

import (
	"bytes"
	"errors"
	"math"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/shikra-sensor/shikra/wasmabi"
)

func TestTable(t *testing.T) {
	for code, name := range map[Type]string{1: "syscall", 3: "open", 5: "close", 223: "clone", 293: "execve", 307: "openat", 187: "NA", 186: "procexit"} {
		if got := code.Info().Name; got != name {
			t.Errorf("%d is %q, want %q", code, got, name)
		}
	}
	if ProcexitV1E != 186 || SyscallOpenatV2X.Info().Params[0].Name != "fd" {
		t.Error("constants and codes differ")
	}
	if n := len(Types()); n != 478 {
		t.Errorf("%d types", n)
	}
	if Type(NumTypes).Known() || Type(math.MaxUint16).Info().Name != "unknown" {
		t.Error("a type outside the table is known")
	}
	for _, ty := range Types() {
		in := ty.Info()
		for i, p := range in.Params {
			if p.Name == "" || int(p.Type) >= NumParamTypes || p.Relative && (p.DirFD < 0 || p.DirFD >= len(in.Params) || in.Params[p.DirFD].Type.Size() != 8) {
				t.Errorf("%s parameter %d: %+v", ty, i, p)
			}
		}
	}
}

func TestByName(t *testing.T) {
	for name, want := range map[string][]Type{"openat": {SyscallOpenatV2X}, "close": {SyscallCloseX}, "procexit": {ProcexitV1E}, "nope": nil} {
		got := ByName(name)
		if len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestSyscalls(t *testing.T) {
	seen := map[string]bool{}
	codes := map[int16]string{}
	numbers := map[[2]int16]string{}
	for _, s := range Syscalls() {
		if seen[s.Name] || !s.Exit.Known() {
			t.Errorf("%s: twice, or event %d unknown", s.Name, s.Exit)
		}
		seen[s.Name] = true
		if other, ok := codes[s.Code]; ok || s.Code < 0 {
			t.Errorf("%s has the code %d of %s", s.Name, s.Code, other)
		}
		codes[s.Code] = s.Name
		for arch, nr := range s.NR {
			at := [2]int16{int16(arch), nr}
			if other, ok := numbers[at]; ok && nr >= 0 {
				t.Errorf("%s has the number %d of %s on %d", s.Name, nr, other, arch)
			}
			numbers[at] = s.Name
		}
		if s.Name == "openat" && (s.NR[ArchAMD64] != 257 || s.NR[ArchARM64] != 56 || s.NR[ArchIA32] != 295 || s.Exit != SyscallOpenatV2X) {
			t.Errorf("%+v", s)
		}
	}
}

// TestKernelHeaders compares the table with the system calls that the kernel's headers here have: each is in it, by its
// number.
func TestKernelHeaders(t *testing.T) {
	nr := map[string]int16{}
	compared := 0
	for file, arch := range map[string]Arch{
		"/usr/include/x86_64-linux-gnu/asm/unistd_64.h":  ArchAMD64,
		"/usr/include/x86_64-linux-gnu/asm/unistd_32.h":  ArchIA32,
		"/usr/include/aarch64-linux-gnu/asm/unistd_64.h": ArchARM64,
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		compared++
		clear(nr)
		for _, s := range Syscalls() {
			nr[s.Name] = s.NR[arch]
		}
		for _, m := range regexp.MustCompile(`(?m)^#define __NR_(\w+) (\d+)$`).FindAllSubmatch(b, -1) {
			if got, ok := nr[string(m[1])]; !ok || strconv.Itoa(int(got)) != string(m[2]) {
				t.Errorf("%s: %s is %s, the table has %d", file, m[1], m[2], got)
			}
		}
	}
	if compared == 0 {
		t.Skip("the kernel's headers aren't installed")
	}
}

func TestBuilder(t *testing.T) {
	var b Builder
	r := b.Start(11, 22, SyscallOpenatV2X).SetCPU(3).SetNR(257).Int(5).Int(-100).String("/etc/x").Int(1).Missing().Int(7).Int(8).Done()
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	if r.TS() != 11 || r.TID() != 22 || r.CPU() != 3 || r.NR() != 257 || r.Type() != SyscallOpenatV2X {
		t.Errorf("%x", []byte(r))
	}
	if p, ok := r.Param(2); !ok || string(p) != "/etc/x\x00" {
		t.Errorf("%q %v", p, ok)
	}
	if _, ok := r.Param(4); ok {
		t.Error("the missing parameter is there")
	}
	p, _ := r.Param(1)
	if v, ok := ParamFd.Int(p); !ok || v != -100 {
		t.Errorf("dirfd %d %v", v, ok)
	}
	long := b.Start(1, 1, SyscallOpenX).Int(1).String(string(bytes.Repeat([]byte("x"), 70000))).Int(1).Done()
	if err := long.Check(); err != nil || long.Origin()&wasmabi.OriginCut == 0 || len(long) > MaxRecord {
		t.Errorf("%v, origin %d, %d bytes", err, long.Origin(), len(long))
	}
	if n := testing.AllocsPerRun(100, func() { b.Start(1, 2, SyscallCloseX).Int(0).Int(3).Done() }); n > 1 {
		t.Errorf("%v allocations a record", n)
	}
}

func TestCheckErrors(t *testing.T) {
	var b Builder
	good := func() Record { return bytes.Clone(b.Start(1, 2, SyscallCloseX).Int(0).Int(3).Done()) }
	for name, tc := range map[string]struct {
		change func(Record) Record
		want   error
	}{
		"empty":          {func(Record) Record { return nil }, ErrShortRecord},
		"short header":   {func(r Record) Record { return r[:31] }, ErrShortRecord},
		"cut":            {func(r Record) Record { return r[:len(r)-1] }, ErrRecordLen},
		"length":         {func(r Record) Record { r[8]++; return r }, ErrRecordLen},
		"type":           {func(r Record) Record { r[13] = 0xff; return r }, ErrRecordType},
		"more params":    {func(r Record) Record { r[14] = 3; return r }, ErrRecordParam},
		"offset in dir":  {func(r Record) Record { r[32] = 4; return r }, ErrRecordParam},
		"offset outside": {func(r Record) Record { r[33] = 0xff; return r }, ErrRecordParam},
		"wrong size":     {func(r Record) Record { r[34] = 4; return r }, ErrRecordParam},
	} {
		if err := tc.change(good()).Check(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	var b Builder
	f.Add([]byte(b.Start(1, 2, SyscallCloseX).Int(0).Int(3).Done()))
	f.Add([]byte(b.Start(1, 2, SyscallOpenX).Int(0).String("/a").Done()))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := Record(data)
		if r.Check() != nil {
			return
		}
		for i := range r.NumParams() {
			if p, ok := r.Param(i); ok { // must not panic
				_, _ = r.Type().Info().Params[i].Type.Int(p)
			}
		}
	})
}
