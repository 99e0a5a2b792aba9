package rawcall

// Int80 makes a 32-bit system call by int 0x80. What is passed by address has to lie in the first 4 GiB. It returns what
// the kernel does, -errno for a failure.
func Int80(nr, a, b, c, d, e, f uintptr) int32

// VforkExit makes a child by vfork that exits at once with status, and returns its pid, -errno for a failure.
func VforkExit(status uintptr) int64
