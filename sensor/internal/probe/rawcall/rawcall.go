// Package rawcall makes system calls that Go's own packages can't, for tests: 32-bit ones on amd64, and vfork.
package rawcall
