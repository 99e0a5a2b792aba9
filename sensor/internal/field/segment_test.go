package field

import (
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// segment returns a copy of the batch segment, read from its memfd as a module's window is mapped from it.
func segment(a *arena.Arena) []byte {
	fd, size := a.Segment(wasmabi.SegmentBatch)
	b := make([]byte, size)
	for n := 0; n < size; {
		m, err := unix.Pread(fd, b[n:], int64(n))
		if err != nil || m == 0 {
			panic("batch segment can't be read")
		}
		n += m
	}
	return b
}
