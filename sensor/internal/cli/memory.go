package cli

import (
	"math"
	"os"
	"runtime/debug"
)

// The collector's settings. Starting up makes much garbage (rules, kernel types, programs), running makes next to none: left
// alone, the heap would grow to twice what is ever needed and the sensor's peak with it.
const (
	startLimit = 24 << 20 // bytes of Go memory, aimed at while starting
	gcPercent  = 50
)

// frugal sets the collector to keep the start's peak low, and returns what gives the memory back and lifts the limit once
// everything runs. GOGC and GOMEMLIMIT in the environment win.
func frugal() (started func()) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetMemoryLimit(startLimit)
	return func() {
		debug.FreeOSMemory()
		debug.SetMemoryLimit(math.MaxInt64)
	}
}
