package need_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// shown writes the conditions of type et on one line: "any" for none, | between ways.
func shown(n *wasmabi.Needs, et event.Type) string {
	var ways []string
	for i := range n.Conditions {
		c := &n.Conditions[i]
		if !slices.Contains(c.Events, uint16(et)) {
			continue
		}
		var parts []string
		if c.Result != "" {
			parts = append(parts, c.Result)
		}
		if len(c.Open) > 0 {
			parts = append(parts, "for "+strings.Join(c.Open, ","))
		}
		if c.Paths != nil {
			parts = append(parts, strings.TrimSpace(fmt.Sprint("paths ", strings.Join(append(c.Paths.Equal, starred(c.Paths.Prefix)...), " "))))
		}
		if len(c.Ports) > 0 {
			parts = append(parts, fmt.Sprint("ports ", c.Ports))
		}
		if c.Sensor {
			parts = append(parts, "sensor")
		}
		ways = append(ways, strings.Join(parts, " "))
	}
	if len(ways) == 0 {
		return "any"
	}
	return strings.Join(ways, " | ")
}

func starred(prefixes []string) (out []string) {
	for _, p := range prefixes {
		out = append(out, p+"*")
	}
	return out
}

// TestConditions: what is necessary for a rule to match, of an open if nothing else is said. Each line holds one step of the
// derivation: less would drop what a rule matches, more would keep what none can.
func TestConditions(t *testing.T) {
	openat, creat, handle := event.SyscallOpenatV2X, event.SyscallCreatX, event.SyscallOpenByHandleAtX
	unlinkat, rename, fchmod, kill := event.SyscallUnlinkatV2X, event.SyscallRenameX, event.SyscallFchmodX, event.SyscallKillX
	write, unlinked := event.SyscallWriteX, event.SecurityInodeUnlinkX
	for _, c := range []struct {
		t               event.Type
		condition, want string
	}{
		// The result.
		{openat, "evt.failed = true", "failure"},
		{openat, "evt.failed = false", "success"},
		{openat, "evt.failed != true", "success"},
		{openat, "evt.failed != false", "failure"},
		{openat, "not evt.failed = true", "success"},
		{openat, "not evt.failed != true", "failure"},
		{openat, "evt.failed in (true, false)", "any"},
		{openat, "evt.failed exists", "any"},
		{openat, "evt.rawres = 3", "success"},
		{openat, "evt.rawres = 0", "success"},
		{openat, "evt.rawres = -2", "failure"},
		{openat, "evt.rawres in (-2, 3)", "any"},
		{openat, "evt.rawres != 3", "any"},
		{openat, "evt.rawres exists", "any"},
		{openat, "evt.rawres exists or evt.failed = true", "any"},
		{openat, "evt.rawres < 0", "failure"},
		{openat, "evt.rawres < 1", "any"},
		{openat, "evt.rawres <= -1", "failure"},
		{openat, "evt.rawres <= 0", "any"},
		{openat, "evt.rawres > -1", "success"},
		{openat, "evt.rawres > -2", "any"},
		{openat, "evt.rawres >= 0", "success"},
		{openat, "evt.rawres >= -1", "any"},
		{openat, "not evt.rawres < 0", "any"}, // it may be missing
		{openat, "evt.res = SUCCESS", "success"},
		{openat, "evt.res = ENOENT", "failure"},
		{openat, "evt.res in (SUCCESS, EPERM)", "any"},
		{openat, "evt.res != SUCCESS", "any"},
		{openat, "evt.res startswith E", "any"},
		{openat, "evt.res = 7", "any"},
		{openat, "evt.res = 7 or evt.failed = true", "any"},
		{openat, "fd.num >= 0", "success"},
		{fchmod, "fd.num >= 0", "any"},
		{fchmod, "fd.num = -1", "any"},

		// What it was opened for.
		{openat, "evt.is_open_read = true", "for read"},
		{openat, "evt.is_open_write = true", "for write"},
		{openat, "evt.is_open_create = true", "success for create"},
		{openat, "evt.is_open_exec = true", "for create"},
		{openat, "evt.is_open_write = false", "any"},
		{openat, "evt.is_open_write != true", "any"},
		{openat, "evt.is_open_write exists", "any"},
		{openat, "not evt.is_open_write = false", "for write"},
		{openat, "not evt.is_open_write = true", "any"},
		{openat, "evt.is_open_read = true or evt.is_open_write = true", "for read,write"},
		{creat, "evt.is_open_write = true", "any"},
		{handle, "evt.is_open_write = true", "any"},
		{handle, "evt.is_open_write = true or evt.failed = true", "any"},
		{creat, "evt.is_open_write = true or evt.failed = true", "any"},
		{fchmod, "evt.is_open_write = true or evt.failed = true", "failure"},
		{fchmod, "evt.is_open_write = false or evt.failed = true", "any"},
		{fchmod, "evt.is_open_write exists or evt.failed = true", "any"},

		// Its path.
		{openat, "fd.name = /etc/a", "paths /etc/a"},
		{openat, "fd.name in (/etc/b, /etc/a, /etc/b)", "paths /etc/a /etc/b"},
		{openat, "fd.name startswith /etc/", "paths /etc/*"},
		{openat, "fd.name glob '/etc/*.conf'", "paths /etc/*"},
		{openat, "fd.name glob '/etc/a?'", "paths /etc/a*"},
		{openat, "fd.name glob '*'", "any"},
		{openat, "fd.name pmatch (/etc)", "paths /etc*"},
		{openat, "fd.name pmatch ('/etc/*/a')", "paths /etc*"},
		{openat, "fd.name contains etc", "any"},
		{openat, "fd.name endswith /a", "any"},
		// Paths with a component that is empty or begins with a dot are kept in any case.
		{openat, "fd.name endswith /.ssh/id_rsa", "paths"},
		{openat, "fd.directory endswith /.ssh or fd.directory = /etc/ssh", "paths /etc/ssh*"},
		{openat, "fd.name in (/root/.profile, /etc/a)", "paths /etc/a"},
		{openat, "fd.name startswith /root/.ssh", "paths"},
		{openat, "fd.name contains //", "paths"},
		{openat, "fd.name icontains /.SSH", "paths"},
		{openat, "fd.name glob '*/.ssh/*'", "paths"},
		{openat, "fd.name glob '/a[/.]b'", "paths /a*"},
		{openat, "fd.name endswith .ssh", "any"},
		{openat, "fd.name != /root/.profile", "any"},
		{openat, "not fd.name contains /.ssh", "any"},
		{openat, "fd.name != /etc/a", "any"},
		{openat, "not fd.name = /etc/a", "any"},
		{openat, "fd.name exists", "any"},
		{openat, "fd.name startswith /", "any"},
		{openat, "fd.name = /", "paths /"},
		{openat, "fd.name = a", "paths"}, // what isn't absolute is kept whatever it is
		{openat, "fd.name in (a, /e)", "paths /e"},
		{openat, "fd.directory = /etc", "paths /etc*"},
		{openat, "fd.directory = /", "any"},
		{openat, "fd.directory startswith /etc", "paths /etc*"},
		{openat, "evt.rawarg.name = /etc/a", "paths /etc/a"},
		{openat, "evt.arg.name startswith /etc", "paths /etc*"},
		{openat, "evt.arg[2] = /etc/a", "paths /etc/a"},
		{openat, "evt.arg[1] = /etc/a", "any"},
		{openat, "evt.arg.flags = /etc/a", "any"},
		{openat, "fs.path.name = /etc/a", "paths /etc/a"},
		{openat, "evt.abspath startswith /etc/", "paths /etc/*"},
		{unlinkat, "fs.path.name = /etc/a", "paths /etc/a"},
		{unlinkat, "fd.name = /etc/a", "any"}, // its directory
		{fchmod, "fd.name = /etc/a", "any"},
		{rename, "evt.arg.oldpath = /etc/a", "any"}, // of two paths
		{rename, "evt.arg.newpath = /etc/a", "any"},
		{openat, "fd.name startswith /etc or fd.name in (/etc, /etc/a, /usr)", "paths /usr /etc*"},
		{openat, "fd.name in (/a, /a/b) or fd.name startswith /b or fd.name = /b", "paths /a /a/b /b*"},
		{openat, "fd.name startswith /etc/ or fd.name in (/etc/a, /etc/b, /etc/c)", "paths /etc/*"},
		{openat, "fd.typechar = f", "success"},
		{fchmod, "fd.typechar = f", "any"},

		// Its ports.
		{write, "fd.sport = 22", "ports [22]"},
		{write, "fd.port in (443, 80, 443)", "ports [80 443]"},
		{write, "fd.sport > 1000", "any"},
		{write, "fd.sport != 22", "any"},
		{write, "not fd.sport = 22", "any"},
		{write, "fd.sport = 22 or fd.cport = 23", "ports [22 23]"},
		{write, "fd.sport = 22 or fd.sip = 192.0.2.1", "any"},
		{write, "fd.sport in (22, 23) and fd.cport = 24", "ports [24]"},
		{write, "fd.sport = 24 and fd.cport in (22, 23)", "ports [24]"},
		{write, "fd.sport = 22 and fd.sip = 192.0.2.1", "ports [22]"},

		// The event's name, and what it doesn't have.
		{openat, "evt.type = openat or evt.failed = true", "any"},
		{openat, "evt.type = creat or evt.failed = true", "failure"},
		{openat, "evt.type != openat or evt.failed = true", "failure"},
		{openat, "evt.type != creat or evt.failed = true", "any"},
		{openat, "not evt.type = openat or evt.failed = true", "failure"},
		{openat, "not evt.type = creat or evt.failed = true", "any"},
		{openat, "evt.type in (creat, openat) and evt.failed = true", "failure"},
		{openat, "evt.type startswith creat or evt.failed = true", "any"},
		{kill, "fs.path.name = /etc/a or evt.failed = true", "failure"},
		{kill, "(not fs.path.name = /etc/a) and evt.failed = true", "failure"},
		{kill, "(not fs.path.name = /etc/a) or evt.failed = true", "any"},

		// Together.
		{openat, "fd.name = /etc/a and evt.failed = true", "failure paths /etc/a"},
		{openat, "fd.name = /etc/a or evt.failed = true", "paths /etc/a | failure"},
		{openat, "not (fd.name = /etc/a or evt.failed = true)", "success"},
		{openat, "not (fd.name = /etc/a and evt.failed = true)", "any"},
		{openat, "not (evt.failed = true and evt.is_open_write = false)", "success | for write"},
		{openat, "not (evt.failed = true or evt.is_open_write = false)", "success for write"},
		{openat, "not not evt.failed = true", "failure"},
		{openat, "proc.name in () or evt.failed = true", "failure"},
		{openat, "(not proc.name in ()) and evt.failed = true", "failure"},
		{openat, "(evt.failed = true or fd.name = /etc/a) and evt.failed = false", "success paths /etc/a"},
		{openat, "fd.name in (/etc/a, /etc/b) and fd.name startswith /etc/", "paths /etc/*"},
		{openat, "fd.name startswith /etc/ and fd.name in (/etc/a, /etc/b)", "paths /etc/*"},
		{openat, "(evt.is_open_read = true or evt.is_open_write = true) and evt.is_open_read = true", "for read"},
		{openat, "evt.is_open_read = true and (evt.is_open_read = true or evt.is_open_write = true)", "for read"},
		{openat, "proc.name = cat and evt.failed = true", "failure"},
		{openat, "proc.name = cat or evt.failed = true", "any"},
		{openat, "(fd.name = /etc/a and evt.failed = true) or (fd.name = /etc/b and evt.failed = true)", "failure paths /etc/a /etc/b"},
		{openat, "(fd.name = /etc/a and evt.failed = true) or (fd.name = /etc/b and evt.failed = false)", "failure paths /etc/a | success paths /etc/b"},
		{openat, "(fd.name = /etc/a and evt.failed = true) or evt.failed = true", "failure"},
		{write, "(fd.sport = 22 and evt.failed = true) or (fd.sport = 23 and evt.failed = false)", "failure ports [22] | success ports [23]"},
		{openat, nineWays, "paths /a1 /a2 /a3 /a4 /a5 /a6 /a7 /a8 /a9"},
		{openat, "(" + nineWays + ") and fd.name startswith /b", "paths /b*"},

		// The sensor itself.
		{unlinked, "evt.targets_sensor = true", "sensor"},
		{unlinked, "evt.targets_sensor = true and evt.failed = false", "success sensor"},
		{unlinked, "evt.targets_sensor = false", "any"},
		{unlinked, "evt.targets_sensor != false", "sensor"},
		{unlinked, "not evt.targets_sensor = false", "sensor"},
		{unlinked, "evt.targets_sensor = true or proc.name = cat", "any"},
		{unlinked, "evt.targets_sensor = true or evt.failed = true", "sensor | failure"},
		{unlinkat, "evt.targets_sensor = true", "any"},
	} {
		n := needs(t, "evt.type in ("+typeOf(c.t)+", creat, kill) and ("+c.condition+")", "x", c.t)
		if got := shown(n, c.t); got != c.want {
			t.Errorf("%s of %s: %s, not %s", c.condition, c.t.Info().Name, got, c.want)
		}
	}
}

func typeOf(et event.Type) string { return et.Info().Name }

// Ways that differ in two parts each, more of them than are kept apart.
const nineWays = "(fd.name = /a1 and evt.failed = true) or (fd.name = /a2 and evt.failed = false) or (fd.name = /a3) or " +
	"(fd.name = /a4 and evt.failed = true and evt.is_open_read = true) or (fd.name = /a5 and evt.failed = false and evt.is_open_read = true) or " +
	"(fd.name = /a6 and evt.is_open_read = true) or (fd.name = /a7 and evt.failed = true and evt.is_open_write = true) or " +
	"(fd.name = /a8 and evt.failed = false and evt.is_open_write = true) or (fd.name = /a9 and evt.is_open_write = true)"

// TestConditionsOfRules: several rules are served by what any of them needs.
func TestConditionsOfRules(t *testing.T) {
	openat, unlinkat := event.SyscallOpenatV2X, event.SyscallUnlinkatV2X
	for _, c := range []struct {
		rules []string
		want  string
	}{
		{[]string{"evt.type = openat and fd.name = /a", "evt.type = openat and evt.failed = true"}, "paths /a | failure"},
		{[]string{"evt.type = openat and fd.name = /a", "evt.type = unlinkat"}, "paths /a"},
		{[]string{"evt.type = openat and fd.name = /a", "evt.type = openat"}, "any"},
		{[]string{"evt.type = openat and fd.name = /a", "evt.type = openat and fd.name = /b"}, "paths /a /b"},
		{[]string{"evt.type = unlinkat", "evt.type = openat and fd.name = /a"}, "paths /a"},
	} {
		n := needsOf(t, c.rules, "x", openat, unlinkat)
		if got := shown(n, openat); got != c.want {
			t.Errorf("%q: %s, not %s", c.rules, got, c.want)
		}
	}
	kill, unlinked := event.SyscallKillX, event.SecurityInodeUnlinkX
	for _, c := range []struct {
		t     event.Type
		rules []string
		want  string
	}{
		// A rule that can't match is passed over, and not those after it.
		{kill, []string{"evt.type in (openat, kill) and evt.is_open_write = true", "evt.type = kill and evt.failed = true"}, "failure"},
		// One on all types takes what is made, where the kernel may make it of the sensor's files only.
		{unlinked, []string{"proc.name = cat", "evt.type = security_inode_unlink and evt.targets_sensor = true"}, "sensor"},
		{openat, []string{"proc.name = cat", "evt.type = openat and evt.failed = true"}, "any"},
	} {
		if got := shown(needsOf(t, c.rules, "x", c.t), c.t); got != c.want {
			t.Errorf("%q: %s, not %s", c.rules, got, c.want)
		}
	}
	n := needsOf(t, []string{"evt.type in (openat, unlinkat) and evt.failed = true"}, "x", openat, unlinkat)
	if len(n.Conditions) != 1 || len(n.Conditions[0].Events) != 2 {
		t.Errorf("one condition for two types: %+v", n.Conditions)
	}
}

// TestPayload: for which ports a call's data is copied.
func TestPayload(t *testing.T) {
	write := event.SyscallWriteX
	for _, c := range []struct {
		rules  []string
		output string
		want   string
	}{
		{[]string{"evt.type = write and fd.sport = 80"}, "x", "[]"},
		{[]string{"evt.type = write and fd.sport = 80"}, "%evt.buffer", "[[80]]"},
		{[]string{"evt.type = write and fd.sport = 80"}, "%evt.args", "[[80]]"},
		{[]string{"evt.type = write and fd.sport = 80 and evt.buffer contains a"}, "x", "[[80]]"},
		{[]string{"evt.type = write and fd.sport = 80 and evt.arg.data contains a"}, "x", "[[80]]"},
		{[]string{"evt.type = write and fd.sport = 80", "evt.type = write and fd.sport in (81, 80)"}, "%evt.buffer", "[[80 81]]"},
		{[]string{"evt.type = write and fd.sport = 80", "evt.type = write"}, "%evt.buffer", "[[]]"},
		{[]string{"evt.type = write", "evt.type = write and fd.sport = 80"}, "%evt.buffer", "[[]]"},
	} {
		n := needsOf(t, c.rules, c.output, write)
		var got []string
		for _, p := range n.Payload {
			if len(p.Events) != 1 || event.Type(p.Events[0]) != write {
				t.Errorf("%q: of %v", c.rules, p.Events)
			}
			got = append(got, fmt.Sprint(p.Ports))
		}
		if text := fmt.Sprint(got); text != c.want {
			t.Errorf("%q, output %s: %s, not %s", c.rules, c.output, text, c.want)
		}
	}
}
