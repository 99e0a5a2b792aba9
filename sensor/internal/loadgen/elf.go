package loadgen

import (
	"runtime"

	"github.com/shikra-sensor/shikra/sensor/internal/tinyelf"
)

// exitCode is exit_group(0) in machine code, by architecture.
var exitCode = map[string][]byte{
	"amd64": {
		0xb8, 0xe7, 0, 0, 0, // mov eax, 231
		0x31, 0xff, // xor edi, edi
		0x0f, 0x05, // syscall
	},
	"arm64": tinyelf.Words(
		0xd2800ba8, // mov x8, 94
		0xd2800000, // mov x0, 0
		0xd4000001, // svc 0
	),
	"arm": tinyelf.Words(
		0xe3a070f8, // mov r7, 248
		0xe3a00000, // mov r0, 0
		0xef000000, // svc 0
	),
	"riscv64": tinyelf.Words(
		0x05e00893, // li a7, 94
		0x00000513, // li a0, 0
		0x00000073, // ecall
	),
}

// ExitProgram returns an executable that ends at once.
func ExitProgram() []byte { return tinyelf.Executable(runtime.GOARCH, exitCode[runtime.GOARCH], 0) }
