package adapt

import (
	"slices"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/host"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/load"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// rules compiles one rule with that condition and output.
func rules(t *testing.T, name, condition, output string) Module {
	t.Helper()
	text := "- rule: " + name + "\n  desc: d\n  condition: >\n    " + condition + "\n  output: \"" + output + "\"\n  priority: INFO\n"
	var o load.Options
	o.Compile.Name = name
	wasm, ds, err := load.Compile([]load.Source{{Name: "r.yaml", Data: []byte(text)}}, o)
	if err != nil {
		t.Fatal(err, ds.Err())
	}
	man, err := host.ReadManifest(wasm)
	if err != nil {
		t.Fatal(err)
	}
	table, err := host.ReadRules(wasm)
	if err != nil {
		t.Fatal(err)
	}
	return Module{Manifest: man, Rules: table}
}

func names(mods []Module, c Config) []string { return Select(mods, c).Names() }

func TestGenericByName(t *testing.T) {
	m := rules(t, "p", "evt.type = personality", "x")
	got := names([]Module{m}, Config{})
	if !slices.Contains(got, "personality") || slices.Contains(got, "sysinfo") || slices.Contains(got, "getppid") {
		t.Errorf("personality alone is asked for: %v", got)
	}
	not := names([]Module{rules(t, "q", "evt.type != personality and proc.name = x", "x")}, Config{})
	if slices.Contains(not, "personality") || !slices.Contains(not, "sysinfo") {
		t.Error("all but personality are asked for")
	}
	// A module that doesn't say takes them all.
	bare := Module{Manifest: &wasmabi.Manifest{Name: "bare", EventCodes: []uint16{uint16(event.GenericX)}}}
	if got := names([]Module{bare}, Config{}); !slices.Contains(got, "sysinfo") {
		t.Error("a module without needs takes every generic call")
	}
}

func TestBaseSyscalls(t *testing.T) {
	mods := []Module{rules(t, "a", "evt.type in (connect, unlink)", "x")}
	plain := names(mods, Config{})
	for _, want := range []string{"connect", "unlink", "openat", "close", "dup2", "setuid", "prctl"} {
		if !slices.Contains(plain, want) {
			t.Errorf("by default %s is captured, for a rule or for state", want)
		}
	}
	custom := names(mods, Config{CustomSet: []string{"clone", "execve", "close"}})
	if slices.Contains(custom, "openat") || !slices.Contains(custom, "close") || !slices.Contains(custom, "connect") {
		t.Errorf("a custom set stands instead of state's, beside the rules': %v", custom)
	}
	minus := Select(mods, Config{CustomSet: []string{"!unlink", "!dup2", "!execve"}})
	if got := minus.Names(); slices.Contains(got, "unlink") || slices.Contains(got, "dup2") || !slices.Contains(got, "openat") || !slices.Contains(got, "execve") {
		t.Errorf("what is refused goes, whoever asks, and state's default stays: %v", got)
	}
	if len(minus.Ignored) != 1 || minus.Ignored[0].Name != "unlink" || !slices.Equal(minus.Ignored[0].Rules, []string{"a"}) {
		t.Errorf("the rule that suffers is named: %+v", minus.Ignored)
	}
	repair := names(mods, Config{Repair: true})
	for _, want := range []string{"connect", "unlink", "socket", "close", "clone", "setuid"} {
		if !slices.Contains(repair, want) {
			t.Errorf("repair keeps %s", want)
		}
	}
	if slices.Contains(repair, "openat") || slices.Contains(repair, "dup2") || slices.Contains(repair, "bind") {
		t.Errorf("repair leaves out what no rule's events are read by: %v", repair)
	}
	if got := names(mods, Config{Repair: true, CustomSet: []string{"accept4"}}); !slices.Contains(got, "accept4") || !slices.Contains(got, "bind") {
		t.Errorf("repair and a custom set add up: %v", got)
	}
	if s := Select(mods, Config{CustomSet: []string{"opnat", "!x"}}); !slices.Equal(s.Unknown, []string{"opnat", "x"}) {
		t.Errorf("unknown names are reported: %v", s.Unknown)
	}
}

func TestHeavyIO(t *testing.T) {
	mods := []Module{rules(t, "leak", "evt.type in (write, sendto, connect)", "%evt.buffer")}
	s := Select(mods, Config{})
	if got := s.Names(); slices.Contains(got, "write") || slices.Contains(got, "sendto") || !slices.Contains(got, "connect") {
		t.Errorf("calls of heavy input and output aren't captured: %v", got)
	}
	if len(s.Ignored) != 2 || s.Ignored[0].Name != "sendto" || s.Ignored[1].Name != "write" || !slices.Equal(s.Ignored[0].Rules, []string{"leak"}) {
		t.Errorf("the warning names rule and calls: %+v", s.Ignored)
	}
	if p := PayloadOf(mods, s, false); len(p.Syscalls) != 0 {
		t.Errorf("no data of what isn't captured: %+v", p)
	}
	s = Select(mods, Config{HeavyIO: true})
	if got := s.Names(); !slices.Contains(got, "write") || !slices.Contains(got, "sendto") || slices.Contains(got, "read") || len(s.Ignored) != 0 {
		t.Errorf("the option brings those that rules name: %v", got)
	}
}

func TestPayload(t *testing.T) {
	heavy := Config{HeavyIO: true}
	for _, c := range []struct {
		cond, out string
		calls     []string
		ports     []uint16
	}{
		{"evt.type in (write, sendto)", "x", nil, nil},
		{"evt.type in (write, sendto)", "%evt.buffer", []string{"sendto", "write"}, nil},
		{"evt.type in (write, sendto)", "%evt.args", []string{"sendto", "write"}, nil},
		{"evt.type = sendto and evt.buffer contains GET", "x", []string{"sendto"}, nil},
		{"evt.type = sendto and fd.sport in (80, 8080)", "%evt.buffer", []string{"sendto"}, []uint16{80, 8080}},
		{"evt.type = sendto and not fd.sport in (80, 8080)", "%evt.buffer", []string{"sendto"}, nil},
		{"evt.type = sendto and (fd.sport = 80 or proc.name = x)", "%evt.buffer", []string{"sendto"}, nil},
		{"evt.type = sendto and evt.arg.data contains x", "x", []string{"sendto"}, nil},
	} {
		mods := []Module{rules(t, "r", c.cond, c.out)}
		p := PayloadOf(mods, Select(mods, heavy), false)
		if !slices.Equal(p.Syscalls, c.calls) || !slices.Equal(p.Ports, c.ports) {
			t.Errorf("%s | %s: data of %v on %v, want %v on %v", c.cond, c.out, p.Syscalls, p.Ports, c.calls, c.ports)
		}
	}
}

// What all threads pay for is made for those who name it, not for those who take events of every type.
func TestTracepoints(t *testing.T) {
	bare := Module{Manifest: &wasmabi.Manifest{Name: "bare", EventCodes: []uint16{uint16(event.PageFaultE)}}}
	for _, c := range []struct {
		mods []Module
		want []event.Type
	}{
		{nil, nil},
		{[]Module{rules(t, "a", "evt.type = open", "x")}, nil},
		{[]Module{rules(t, "b", "proc.name = x", "x"), rules(t, "c", "evt.type != open and proc.name = x", "x")}, nil},
		{[]Module{rules(t, "d", "evt.type = signaldeliver and evt.arg.sig = SIGKILL", "x")}, []event.Type{event.SignaldeliverE}},
		{[]Module{rules(t, "e", "evt.type in (switch, page_fault, open)", "x")}, []event.Type{event.SchedswitchV6E, event.PageFaultE}},
		{[]Module{bare}, []event.Type{event.PageFaultE}},
	} {
		s := Select(c.mods, Config{})
		for _, typ := range []event.Type{event.SignaldeliverE, event.SchedswitchV6E, event.PageFaultE} {
			if want := slices.Contains(c.want, typ); s.Wants(typ) != want {
				t.Errorf("%v wants %s: %v", c.mods, typ, !want)
			}
		}
	}
	// Of hooks that know the sensor's files: whether all who name them mean those.
	mine := "evt.type = security_inode_unlink and evt.targets_sensor = true"
	for _, c := range []struct {
		conds []string
		want  bool
	}{
		{[]string{mine}, true},
		{[]string{mine + " and proc.name != x"}, true},
		{[]string{"not evt.targets_sensor = false and evt.type in (security_inode_unlink, security_inode_rename)"}, true},
		{[]string{"evt.type = security_inode_unlink and (evt.targets_sensor = true or proc.name = x)"}, false},
		{[]string{"evt.type = security_inode_unlink and evt.targets_sensor = false"}, false},
		{[]string{"evt.type = security_inode_unlink"}, false},
		{[]string{mine, "evt.type = security_inode_unlink and proc.name = x"}, false},
		{[]string{mine, "evt.type = security_inode_rename"}, true},
		{[]string{mine, "proc.name = x"}, true},
	} {
		var ms []Module
		for i, cond := range c.conds {
			ms = append(ms, rules(t, "m"+string(rune('a'+i)), cond, "x"))
		}
		s := Select(ms, Config{})
		if !s.Wants(event.SecurityInodeUnlinkX) || s.OnSensorOnly(event.SecurityInodeUnlinkX) != c.want {
			t.Errorf("%q: wanted %v, only on the sensor %v", c.conds, s.Wants(event.SecurityInodeUnlinkX), s.OnSensorOnly(event.SecurityInodeUnlinkX))
		}
	}
	if s := Select(nil, Config{Everything: true}); s.Wants(event.SchedswitchV6E) {
		t.Error("a listing of everything wants switches")
	}
}

func TestPart(t *testing.T) {
	find := func(s *Selection, name string) *Syscall {
		for i := range s.Syscalls {
			if s.Syscalls[i].Name == name {
				return &s.Syscalls[i]
			}
		}
		return nil
	}
	s := Select([]Module{rules(t, "a", "evt.type in (unlink, recvmsg)", "x"), rules(t, "b", "evt.type = ioctl", "x")}, Config{})
	if c := find(s, "ioctl"); c == nil || c.Part || !slices.Equal(c.For, []string{"b", ForState}) {
		t.Errorf("ioctl, which a rule asks for: %+v", c)
	}
	if c := find(s, "recvmsg"); c == nil || !c.Part || !slices.Equal(c.For, []string{ForState}) {
		t.Errorf("recvmsg, of which state needs a part: %+v", c)
	}
	if !slices.Equal(s.Parts(), []string{"getsockopt", "recvmsg"}) || len(s.Ignored) != 1 || s.Ignored[0].Name != "recvmsg" {
		t.Errorf("parts %v, ignored %+v", s.Parts(), s.Ignored)
	}
	if s = Select(nil, Config{}); !slices.Equal(s.Parts(), []string{"getsockopt", "ioctl", "recvmsg"}) {
		t.Errorf("without modules: %v", s.Parts())
	}
	if s = Select(nil, Config{CustomSet: []string{"!ioctl"}}); find(s, "ioctl") != nil {
		t.Error("ioctl is refused")
	}
	if s = Select(nil, Config{Everything: true, HeavyIO: true}); len(s.Parts()) != 0 {
		t.Errorf("everything: parts %v", s.Parts())
	}
}
