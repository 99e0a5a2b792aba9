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
	fchmod, openat, poll := event.SyscallFchmodX, event.SyscallOpenatV2X, event.SyscallPollX
	for _, c := range []struct {
		condition, output string
		t                 event.Type
		want              bool
	}{
		{"evt.type = fchmod", "%proc.name", fchmod, false},
		{"evt.type = fchmod and fd.name = /etc/shadow", "x", fchmod, true},
		{"evt.type = fchmod", "%fd.name", fchmod, true},
		{"evt.type = openat and fd.name = /etc/shadow", "%fd.name", openat, false},
		// What it acts on is a socket, and those are always known.
		{"evt.type = fchmod and fd.sport = 22", "%fd.name", fchmod, false},
		// But the others that the process has open are files.
		{"evt.type = fchmod and fd.sport = 22", "%proc.fdopencount", fchmod, true},
		{"evt.type = fchmod and fd.sport = 22", "%proc.fdlimit", fchmod, false},
		{"evt.type = fchmod and fd.sport != 22", "%fd.name", fchmod, false},
		{"evt.type = fchmod and not fd.sport = 22", "%fd.name", fchmod, true},
		{"evt.type = fchmod and fd.type = ipv4", "%fd.name", fchmod, false},
		{"evt.type = fchmod and fd.type in (ipv4, file)", "%fd.name", fchmod, true},
		{"evt.type = fchmod and fd.type != ipv4", "%fd.name", fchmod, true},
		{"evt.type = fchmod and fd.typechar in (4, 6, u)", "%fd.name", fchmod, false},
		{"evt.type = fchmod and fd.connected = true", "%fd.name", fchmod, false},
		{"evt.type = fchmod and fd.connected = false", "%fd.name", fchmod, true},
		{"evt.type = fchmod and fd.is_server exists", "%fd.name", fchmod, true},
		{"evt.type = fchmod and fd.sip = 192.0.2.1", "%fd.name", fchmod, false},
		{"evt.type = fchmod and (fd.sip = 192.0.2.1 or proc.name = cat)", "%fd.name", fchmod, true},
		{"evt.type = fchmod and (fd.sip = 192.0.2.1 or fd.sport = 22)", "%fd.name", fchmod, false},
		{"evt.type = fchmod and evt.targets_sensor = true", "x", fchmod, true},
		{"evt.type = setxattrat and evt.targets_sensor = true", "x", event.SyscallSetxattratX, true}, // with an empty path
		{"evt.type = fchmodat2 and evt.targets_sensor = true", "x", event.SyscallFchmodat2X, true},
		{"evt.type = unlinkat and evt.targets_sensor = true", "x", event.SyscallUnlinkatV2X, false},
		{"evt.type = linkat and evt.targets_sensor = true", "x", event.SyscallLinkatV2X, true},
		{"evt.type = kill and evt.targets_sensor = true", "x", event.SyscallKillX, false},
		{"evt.type = pidfd_send_signal and evt.targets_sensor = true", "x", event.SyscallPidfdSendSignalX, false},
		{"evt.type = fchmod", "%evt.arg.fd", fchmod, true},
		{"evt.type = fchmod", "%evt.rawarg.fd", fchmod, false},
		{"evt.type = fchmod", "%evt.arg.mode", fchmod, false},
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
