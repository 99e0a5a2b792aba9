package wasm

// Instructions with immediates or structure, which have methods of Func.
const (
	opBlock     = 0x02
	opLoop      = 0x03
	opIf        = 0x04
	opElse      = 0x05
	opEnd       = 0x0b
	opBr        = 0x0c
	opBrIf      = 0x0d
	opBrTable   = 0x0e
	opReturn    = 0x0f
	opCall      = 0x10
	opLocalGet  = 0x20
	opLocalSet  = 0x21
	opLocalTee  = 0x22
	opGlobalGet = 0x23
	opGlobalSet = 0x24
	opI32Const  = 0x41
	opI64Const  = 0x42
	opPrefix    = 0xfc
)

// Op is an instruction without immediates.
type Op byte

// The instructions without immediates that the compiler of rules uses.
const (
	Unreachable Op = 0x00
	Drop        Op = 0x1a
	Select      Op = 0x1b

	I32Eqz Op = 0x45
	I32Eq  Op = 0x46
	I32Ne  Op = 0x47
	I32LtS Op = 0x48
	I32LtU Op = 0x49
	I32GtS Op = 0x4a
	I32GtU Op = 0x4b
	I32LeS Op = 0x4c
	I32LeU Op = 0x4d
	I32GeS Op = 0x4e
	I32GeU Op = 0x4f

	I64Eqz Op = 0x50
	I64Eq  Op = 0x51
	I64Ne  Op = 0x52
	I64LtS Op = 0x53
	I64LtU Op = 0x54
	I64GtS Op = 0x55
	I64GtU Op = 0x56
	I64LeS Op = 0x57
	I64LeU Op = 0x58
	I64GeS Op = 0x59
	I64GeU Op = 0x5a

	I32Add  Op = 0x6a
	I32Sub  Op = 0x6b
	I32Mul  Op = 0x6c
	I32And  Op = 0x71
	I32Or   Op = 0x72
	I32Xor  Op = 0x73
	I32Shl  Op = 0x74
	I32ShrU Op = 0x76

	I64Ctz  Op = 0x7a
	I64Add  Op = 0x7c
	I64Sub  Op = 0x7d
	I64Mul  Op = 0x7e
	I64And  Op = 0x83
	I64Or   Op = 0x84
	I64Xor  Op = 0x85
	I64Shl  Op = 0x86
	I64ShrU Op = 0x88

	I32WrapI64    Op = 0xa7
	I64ExtendI32S Op = 0xac
	I64ExtendI32U Op = 0xad
)

// MemOp is a load or a store.
type MemOp byte

// The loads and stores.
const (
	I32Load    MemOp = 0x28
	I64Load    MemOp = 0x29
	I32Load8S  MemOp = 0x2c
	I32Load8U  MemOp = 0x2d
	I32Load16S MemOp = 0x2e
	I32Load16U MemOp = 0x2f
	I64Load8U  MemOp = 0x31
	I64Load16U MemOp = 0x33
	I64Load32S MemOp = 0x34
	I64Load32U MemOp = 0x35
	I32Store   MemOp = 0x36
	I64Store   MemOp = 0x37
	I32Store8  MemOp = 0x3a
	I32Store16 MemOp = 0x3b
)
