package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The bounds of a manifest and a rule table.
const (
	maxManifest = 1 << 20  // bytes of JSON
	maxTable    = 16 << 20 // bytes of JSON
	maxRules    = 65536
)

// ReadManifest returns the manifest of a module, checked, without running or compiling any of it.
func ReadManifest(module []byte) (*wasmabi.Manifest, error) {
	data, ok, err := wasm.CustomSection(module, wasmabi.SectionManifest)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("no section %s: not a shikra module", wasmabi.SectionManifest)
	}
	m := &wasmabi.Manifest{}
	if err := strictJSON(data, maxManifest, m); err != nil {
		return nil, fmt.Errorf("section %s: %w", wasmabi.SectionManifest, err)
	}
	if err := checkManifest(m); err != nil {
		return nil, fmt.Errorf("section %s: %w", wasmabi.SectionManifest, err)
	}
	return m, nil
}

// ReadRules returns the rule table of a module, checked; nil when it has none.
func ReadRules(module []byte) ([]wasmabi.Rule, error) {
	data, ok, err := wasm.CustomSection(module, wasmabi.SectionRules)
	if err != nil || !ok {
		return nil, err
	}
	t := wasmabi.RuleTable{}
	if err := strictJSON(data, maxTable, &t); err != nil {
		return nil, fmt.Errorf("section %s: %w", wasmabi.SectionRules, err)
	}
	if len(t.Rules) > maxRules {
		return nil, fmt.Errorf("section %s: %d rules, the most is %d", wasmabi.SectionRules, len(t.Rules), maxRules)
	}
	for i, r := range t.Rules {
		if r.Name == "" {
			return nil, fmt.Errorf("section %s: rule %d has no name", wasmabi.SectionRules, i)
		}
		if !slices.Contains(priorities, r.Priority) {
			return nil, fmt.Errorf("section %s: rule %q has the unknown priority %q", wasmabi.SectionRules, r.Name, r.Priority)
		}
		for _, c := range r.EventCodes {
			if !event.Type(c).Known() {
				return nil, fmt.Errorf("section %s: rule %q names the unknown event code %d", wasmabi.SectionRules, r.Name, c)
			}
		}
	}
	if t.Rules == nil {
		t.Rules = []wasmabi.Rule{}
	}
	return t.Rules, nil
}

var priorities = []string{"Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"}

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	versionForm = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

func checkManifest(m *wasmabi.Manifest) error {
	switch {
	case !nameForm.MatchString(m.Name):
		return fmt.Errorf("name %.70q isn't 1 to 64 letters, digits, '.', '_' and '-', a letter or digit first", m.Name)
	case len(m.Version) > 128 || !versionForm.MatchString(m.Version):
		return fmt.Errorf("version %.140q isn't a semantic version", m.Version)
	case len(m.Description) > 1024 || strings.ContainsAny(m.Description, "\r\n"):
		return fmt.Errorf("description isn't one line of at most 1024 bytes")
	case m.Source != "syscall":
		return fmt.Errorf("source %.70q is unknown; this host has syscall", m.Source)
	case m.ABIMinor < 0:
		return fmt.Errorf("abi_minor %d is negative", m.ABIMinor)
	case m.ABIMinor > wasmabi.Minor:
		return fmt.Errorf("needs ABI %d.%d; this host has %d.%d", wasmabi.Major, m.ABIMinor, wasmabi.Major, wasmabi.Minor)
	case m.WindowSize == 0 || m.WindowSize%wasmabi.WindowAlign != 0:
		return fmt.Errorf("window_size %d isn't a multiple of %d", m.WindowSize, wasmabi.WindowAlign)
	case len(m.Fields) > wasmabi.MaxColumns:
		return fmt.Errorf("%d fields, the most is %d", len(m.Fields), wasmabi.MaxColumns)
	}
	if err := checkEvents(m); err != nil {
		return err
	}
	if len(m.FieldEvents) > 0 && len(m.FieldEvents) != len(m.Fields) {
		return fmt.Errorf("field_events has %d lists for %d fields", len(m.FieldEvents), len(m.Fields))
	}
	for k, codes := range m.FieldEvents {
		for _, c := range codes {
			if !slices.Contains(m.EventCodes, c) {
				return fmt.Errorf("field_events of %s: event_codes doesn't have %d", m.Fields[k], c)
			}
		}
	}
	seen := map[string]bool{}
	for _, f := range m.Fields {
		if f == "" || seen["f"+f] {
			return fmt.Errorf("field %q is empty or named twice", f)
		}
		seen["f"+f] = true
	}
	for _, s := range m.Segments {
		if _, ok := wasmabi.SegmentByName(s); !ok {
			return fmt.Errorf("unknown segment %q", s)
		}
		if seen["s"+s] {
			return fmt.Errorf("segment %q is named twice", s)
		}
		seen["s"+s] = true
	}
	return checkNeeds(m)
}

// The bounds of what a module says it needs.
const (
	maxConditions = 4096
	maxNeedTexts  = 1 << 16 // paths and ports of all conditions
	maxNeedPath   = 4096    // bytes
)

func checkNeeds(m *wasmabi.Manifest) error {
	n := m.Needs
	if n == nil {
		return nil
	}
	codes := func(what string, list []uint16) error {
		for _, c := range list {
			if !slices.Contains(m.EventCodes, c) {
				return fmt.Errorf("needs: %s: event_codes doesn't have %d", what, c)
			}
		}
		return nil
	}
	for _, s := range n.Syscalls {
		if s != "*" && !slices.ContainsFunc(event.Syscalls(), func(c event.Syscall) bool { return c.Name == s }) {
			return fmt.Errorf("needs: unknown system call %.70q", s)
		}
	}
	if err := codes("files", n.Files); err != nil {
		return err
	}
	texts := 0
	for _, p := range n.Payload {
		texts += len(p.Ports)
		if err := codes("payload", p.Events); err != nil {
			return err
		}
	}
	for _, c := range n.Conditions {
		if err := codes("conditions", c.Events); err != nil {
			return err
		}
		if c.Result != "" && c.Result != wasmabi.ResultSuccess && c.Result != wasmabi.ResultFailure {
			return fmt.Errorf("needs: result %.70q is neither %s nor %s", c.Result, wasmabi.ResultSuccess, wasmabi.ResultFailure)
		}
		for _, o := range c.Open {
			if o != wasmabi.OpenRead && o != wasmabi.OpenWrite && o != wasmabi.OpenCreate {
				return fmt.Errorf("needs: open %.70q is none of %s, %s and %s", o, wasmabi.OpenRead, wasmabi.OpenWrite, wasmabi.OpenCreate)
			}
		}
		texts += len(c.Ports)
		if c.Paths == nil {
			continue
		}
		texts += len(c.Paths.Equal) + len(c.Paths.Prefix)
		for _, p := range append(slices.Clip(c.Paths.Equal), c.Paths.Prefix...) {
			if p == "" || len(p) > maxNeedPath || strings.IndexByte(p, 0) >= 0 {
				return fmt.Errorf("needs: path %.70q isn't 1 to %d bytes without NUL", p, maxNeedPath)
			}
		}
	}
	if len(n.Conditions) > maxConditions || texts > maxNeedTexts {
		return fmt.Errorf("needs: %d conditions with %d paths and ports, the most is %d with %d", len(n.Conditions), texts, maxConditions, maxNeedTexts)
	}
	return nil
}

func checkEvents(m *wasmabi.Manifest) error {
	named := map[string]bool{}
	for _, n := range m.Events {
		if n != "*" && len(event.ByName(n)) == 0 {
			return fmt.Errorf("unknown event type %q", n)
		}
		if named[n] {
			return fmt.Errorf("event type %q is named twice", n)
		}
		named[n] = true
	}
	seen := map[uint16]bool{}
	for _, c := range m.EventCodes {
		t := event.Type(c)
		switch {
		case !t.Known():
			return fmt.Errorf("unknown event code %d", c)
		case seen[c]:
			return fmt.Errorf("event code %d is named twice", c)
		case !named["*"] && !named[t.Info().Name]:
			return fmt.Errorf("event code %d is %s, which events doesn't name", c, t.Info().Name)
		}
		seen[c] = true
	}
	for n := range named {
		if n == "*" {
			continue
		}
		if !slices.ContainsFunc(m.EventCodes, func(c uint16) bool { return event.Type(c).Info().Name == n }) {
			return fmt.Errorf("event type %q has no code in event_codes", n)
		}
	}
	return nil
}

// strictJSON reads data into v, refusing what encoding/json forgives: unknown keys, keys in another case, keys that
// stand twice, and anything after the value.
func strictJSON(data []byte, most int, v any) error {
	if len(data) > most {
		return fmt.Errorf("%d bytes, the most is %d", len(data), most)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	return strictKeys(json.NewDecoder(bytes.NewReader(data)), reflect.TypeOf(v).Elem(), "")
}

// strictKeys goes through one value of d, which Unmarshal has taken, so its syntax, its types and its depth are right.
func strictKeys(d *json.Decoder, t reflect.Type, path string) error {
	tok, err := d.Token()
	if err != nil {
		return err
	}
	switch tok {
	case json.Delim('['):
		for d.More() {
			elem := t
			if t.Kind() == reflect.Slice {
				elem = t.Elem()
			}
			if err := strictKeys(d, elem, path+"[]"); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			tok, err := d.Token()
			if err != nil {
				return err
			}
			key, _ := tok.(string)
			f, ok := keyField(t, key)
			if !ok {
				return fmt.Errorf("unknown key %q", strings.TrimPrefix(path+"."+key, "."))
			}
			if seen[key] {
				return fmt.Errorf("key %q stands twice", strings.TrimPrefix(path+"."+key, "."))
			}
			seen[key] = true
			if err := strictKeys(d, f, path+"."+key); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = d.Token() // the closing bracket
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func keyField(t reflect.Type, key string) (reflect.Type, bool) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, false
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == key {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}
