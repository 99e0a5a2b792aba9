// Package bpf holds the probe's kernel side: its C source, and the objects and Go bindings made from it.
package bpf

// Generation needs clang 19, llvm 19 and libbpf's headers; what it makes is committed, so that building doesn't. The
// objects are stripped of debug sections (BTF stays) and so hold no path of the machine that made them: generated anywhere
// they are the same, byte for byte. The last line drops the relocations of BTF, a quarter of an object, which only libbpf
// looks at.

//go:generate go run gen_events.go
//go:generate go tool -modfile=../tools/go.mod bpf2go -cc ./clang.sh -strip llvm-strip-19 -target amd64,arm64,arm,riscv64 -no-global-types -output-stem probe -go-package bpf Probe programs/probe.bpf.c -- -O2 -g -mcpu=v3 -Wall -Werror -Wno-unused-function
//go:generate go tool -modfile=../tools/go.mod bpf2go -cc ./clang.sh -strip llvm-strip-19 -target amd64,arm64,arm,riscv64 -no-global-types -output-stem uring -go-package bpf Uring programs/uring.bpf.c -- -O2 -g -mcpu=v3 -Wall -Werror -Wno-unused-function
//go:generate sh -c "for o in probe_*_bpfel.o uring_*_bpfel.o; do llvm-objcopy-19 --remove-section=.rel.BTF --remove-section=.rel.BTF.ext ${DOLLAR}o; done"
