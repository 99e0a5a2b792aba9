package cli

import (
	"math"
	"os"
	"runtime/debug"
)

// The collector's settings. Starting up makes much garbage (rules, kernel types, programs), running makes next to none: left
// alone, the heap would grow to twice what is ever needed and the sensor's peak with it.
const (
	startLimit = 36 << 20 // bytes of Go memory, aimed at while starting
	gcPercent  = 50
)

// frugal sets the collector to keep the heap small, and returns what gives the start's memory back once everything runs.
// GOGC and GOMEMLIMIT in the environment win.
func frugal() (started func()) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return debug.FreeOSMemory
	}
	debug.SetMemoryLimit(startLimit)
	return func() {
		debug.FreeOSMemory()
		debug.SetMemoryLimit(math.MaxInt64)
	}
}
