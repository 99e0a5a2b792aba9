package live

import (
	"bytes"
	"math"
	"path/filepath"
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// Lookup reads single threads from /proc: those that no event told of, because what made them was lost. Not safe for
// concurrent use.
type Lookup struct {
	proc  *procfs
	inits map[uint64]uint64 // only of the thread being read: not kept
}

// NewLookup opens the /proc below hostRoot ("/" for this machine's own).
func NewLookup(hostRoot string) (*Lookup, error) {
	p, err := openProcfs(filepath.Join(hostRoot, "proc"))
	if err != nil {
		return nil, err
	}
	return &Lookup{proc: p, inits: map[uint64]uint64{}}, nil
}

// Thread reads thread tid into t, which then owns its strings, and reports whether there is such a thread.
func (l *Lookup) Thread(tid int64, t *snapshot.Thread) bool {
	if tid <= 0 || tid > math.MaxInt32 {
		return false
	}
	b, err := l.proc.read(pidPath(int32(tid), "status"), 4096)
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(b, []byte("\nTgid:"))
	if !ok {
		return false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	pid, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 32)
	if err != nil {
		return false
	}
	clear(l.inits)
	if *t, err = l.proc.thread(int32(pid), int32(tid), l.inits); err != nil {
		return false
	}
	l.proc.commandLine(int32(pid), t)
	return true
}

// Close closes /proc.
func (l *Lookup) Close() { l.proc.close() }
