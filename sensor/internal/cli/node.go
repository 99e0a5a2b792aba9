package cli

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
)

// readNode says which machine and boot this is. machine-id(5) asks not to show the id itself: ours is made from it by a
// keyed hash, stable for the machine and meaningless elsewhere.
func readNode(c *config.Config) *output.Node {
	n := &output.Node{ID: c.Node.ID, Labels: c.Node.Labels, TimeSynced: timeSynced()}
	if n.ID == "" {
		if id := firstLine(filepath.Join(c.Host.Root, "etc/machine-id")); id != "" {
			m := hmac.New(sha256.New, []byte(id))
			m.Write([]byte("shikra node id"))
			n.ID = hex.EncodeToString(m.Sum(nil)[:16])
		}
	}
	n.BootID = firstLine(filepath.Join(c.Host.Root, "proc/sys/kernel/random/boot_id"))
	return n
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	b, _, _ = bytes.Cut(b, []byte("\n"))
	return string(bytes.TrimSpace(b))
}

// timeSynced asks the kernel whether its clock is synchronised (STA_UNSYNC, adjtimex(2)).
func timeSynced() bool {
	var t unix.Timex
	st, err := unix.Adjtimex(&t)
	return err == nil && st != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// wallOffset returns what to add to CLOCK_BOOTTIME for CLOCK_REALTIME, in ns.
func wallOffset() int64 {
	var boot, wall unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &wall) != nil {
		return 0
	}
	return wall.Nano() - boot.Nano()
}
