package bpf

// setarch -R: clang orders forward declarations in BTF by where their descriptions happened to lie in memory.
//
// The iterators read no registers, so one object serves every architecture; the header wants some architecture named.

//go:generate go tool -modfile=../tools/go.mod bpf2go -cc ./clang.sh -strip llvm-strip-19 -target bpfel -no-global-types -type iter_task_head IterTask programs/iter_task.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -Iinclude -D__TARGET_ARCH_x86
//go:generate go tool -modfile=../tools/go.mod bpf2go -cc ./clang.sh -strip llvm-strip-19 -target bpfel -no-global-types -type iter_file_head IterFile programs/iter_task_file.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -Iinclude -D__TARGET_ARCH_x86
