package need_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/need"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
	"github.com/shikra-sensor/shikra/wasmabi"
)

func needs(t *testing.T, condition, output string, types ...event.Type) *wasmabi.Needs {
	t.Helper()
	return needsOf(t, []string{condition}, output, types...)
}

func needsOf(t *testing.T, conditions []string, output string, types ...event.Type) *wasmabi.Needs {
	t.Helper()
	text := ""
	for i, c := range conditions {
		text += fmt.Sprintf("- rule: r%d\n  desc: d\n  condition: %s\n  output: \"%s\"\n  priority: INFO\n", i, c, output)
	}
	f, ds := parse.File("r.yaml", []byte(text))
	if f == nil {
		t.Fatal(ds.Err())
	}
	p, ds := check.Check([]*ast.File{f}, check.Options{})
	if p == nil {
		t.Fatal(ds.Err())
	}
	return need.Of(p.Rules, types)
}

// TestFiles: by which events a rule looks at files that other events opened, so that no open may be left out.
func TestFiles(t *testing.T) {
	flock, openat, poll := event.SyscallFlockX, event.SyscallOpenatV2X, event.SyscallPollX
	for _, c := range []struct {
		condition, output string
		t                 event.Type
		want              bool
	}{
		{"evt.type = flock", "%proc.name", flock, false},
		{"evt.type = flock and fd.name = /etc/shadow", "x", flock, true},
		{"evt.type = flock", "%fd.name", flock, true},
		{"evt.type = openat and fd.name = /etc/shadow", "%fd.name", openat, false},
		// What it acts on is a socket, and those are always known.
		{"evt.type = flock and fd.sport = 22", "%fd.name", flock, false},
		// But the others that the process has open are files.
		{"evt.type = flock and fd.sport = 22", "%proc.fdopencount", flock, true},
		{"evt.type = flock and fd.sport = 22", "%proc.fdlimit", flock, false},
		{"evt.type = flock and fd.sport != 22", "%fd.name", flock, false},
		{"evt.type = flock and not fd.sport = 22", "%fd.name", flock, true},
		{"evt.type = flock and fd.type = ipv4", "%fd.name", flock, false},
		{"evt.type = flock and fd.type in (ipv4, file)", "%fd.name", flock, true},
		{"evt.type = flock and fd.type != ipv4", "%fd.name", flock, true},
		{"evt.type = flock and fd.typechar in (4, 6, u)", "%fd.name", flock, false},
		{"evt.type = flock and fd.connected = true", "%fd.name", flock, false},
		{"evt.type = flock and fd.connected = false", "%fd.name", flock, true},
		{"evt.type = flock and fd.is_server exists", "%fd.name", flock, true},
		{"evt.type = flock and fd.sip = 192.0.2.1", "%fd.name", flock, false},
		{"evt.type = flock and (fd.sip = 192.0.2.1 or proc.name = cat)", "%fd.name", flock, true},
		{"evt.type = flock and (fd.sip = 192.0.2.1 or fd.sport = 22)", "%fd.name", flock, false},
		{"evt.type = flock and evt.targets_sensor = true", "x", flock, true},
		// What these act on the kernel tells as they end.
		{"evt.type = fchmod and fd.name = /etc/shadow", "%evt.args", event.SyscallFchmodX, false},
		{"evt.type = fchmod and evt.targets_sensor = true", "%fs.path.name", event.SyscallFchmodX, false},
		{"evt.type = fchmod", "%proc.fdopencount", event.SyscallFchmodX, true},
		{"evt.type = setxattrat and evt.targets_sensor = true", "x", event.SyscallSetxattratX, false}, // with an empty path, too
		{"evt.type = fchmodat2 and evt.targets_sensor = true", "%evt.args", event.SyscallFchmodat2X, false},
		{"evt.type = move_mount and evt.targets_sensor = true", "%evt.args", event.SyscallMoveMountX, false},
		{"evt.type = open_by_handle_at", "%evt.args", event.SyscallOpenByHandleAtX, false},
		{"evt.type = pidfd_getfd", "%evt.args", event.SyscallPidfdGetfdX, false},
		{"evt.type = process_madvise", "%evt.args", event.SyscallProcessMadviseX, false}, // processes are always known
		// What can't hold of the event isn't looked at.
		{"evt.type = flock and (proc.name = a or evt.type = openat and fd.name = /etc/a)", "x", flock, false},
		{"evt.type = flock and (proc.name = a or evt.type = flock and fd.name = /etc/a)", "x", flock, true},
		{"evt.type = flock and not (evt.type != openat or fd.name = /etc/a)", "x", flock, false},
		{"evt.type = unlinkat and evt.targets_sensor = true", "x", event.SyscallUnlinkatV2X, false},
		{"evt.type = linkat and evt.targets_sensor = true", "x", event.SyscallLinkatV2X, false},
		{"evt.type = kill and evt.targets_sensor = true", "x", event.SyscallKillX, false},
		{"evt.type = pidfd_send_signal and evt.targets_sensor = true", "x", event.SyscallPidfdSendSignalX, false},
		{"evt.type = flock", "%evt.arg.fd", flock, true},
		{"evt.type = flock", "%evt.rawarg.fd", flock, false},
		{"evt.type = flock", "%evt.arg.mode", flock, false},
		{"evt.type = openat", "%evt.arg.dirfd", openat, false},
		{"evt.type = openat", "%evt.args", openat, false},
		{"evt.type = close", "%fd.name", event.SyscallCloseX, true},
		{"evt.type = kill", "%fd.name", event.SyscallKillX, false},
		{"evt.type = fchdir", "%fd.name", event.SyscallFchdirX, false},
		{"evt.type = unlinkat", "%fd.name", event.SyscallUnlinkatV2X, false},
		{"evt.type = dup", "%fd.types", event.SyscallDupV1X, true},
		{"evt.type = openat", "%proc.fdopencount", openat, true},
		{"evt.type = poll", "%fdlist.names", poll, true},
		{"evt.type = poll", "%evt.args", poll, true},
		{"evt.type = poll", "%evt.res", poll, false},
	} {
		n := needs(t, c.condition, c.output, c.t)
		if got := slices.Contains(n.Files, uint16(c.t)); got != c.want {
			t.Errorf("%s, output %s: looks at files is %v, not %v", c.condition, c.output, got, c.want)
		}
	}
}
