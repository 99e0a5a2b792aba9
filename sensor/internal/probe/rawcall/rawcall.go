// Package rawcall makes system calls that Go's own packages can't, for tests: 32-bit ones, vfork, and any at all in a process of its own.
package rawcall
