#include "textflag.h"

// func Int80(nr, a, b, c, d, e, f uintptr) int32
TEXT ·Int80(SB), NOSPLIT, $0-60
	MOVQ nr+0(FP), AX
	MOVQ a+8(FP), BX
	MOVQ b+16(FP), CX
	MOVQ c+24(FP), DX
	MOVQ d+32(FP), SI
	MOVQ e+40(FP), DI
	MOVQ BP, R12 // the sixth argument goes where Go has its frame pointer
	MOVQ f+48(FP), BP
	INT  $0x80
	MOVQ R12, BP
	MOVL AX, ret+56(FP)
	RET

// func VforkExit(status uintptr) int64
TEXT ·VforkExit(SB), NOSPLIT, $0-16
	MOVQ status+0(FP), DI
	MOVQ $58, AX // vfork
	SYSCALL
	CMPQ AX, $0
	JNE  parent
	MOVQ $231, AX // exit_group: the child shares this stack, and leaves without touching it
	SYSCALL

parent:
	MOVQ AX, ret+8(FP)
	RET
