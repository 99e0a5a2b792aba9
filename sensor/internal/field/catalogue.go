package field

import (
	"sort"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// catalogue is every field, sorted by name; read-only after its making.
var catalogue = build()

func build() []*Field {
	var all []*Field
	for _, c := range []struct {
		class  string
		fields []*Field
	}{
		{"evt", evtFields()},
		{"evt", evtArgFields()},
		{"evt", evtTimeFields()},
		{"process", procFields()},
		{"process", procComputedFields()},
		{"fd", fdFields()},
		{"fd", fdComputedFields()},
		{"fdlist", fdlistFields()},
		{"fs.path", fspathFields()},
		{"user", userFields()},
		{"group", groupFields()},
		{"container", containerFields()},
	} {
		for _, f := range c.fields {
			f.class = c.class
			if f.arg != nil {
				v := *f.arg
				v.Name, v.Type, v.Arg, v.Optional, v.Doc, v.Events, v.class = f.Name, f.Type, f.Arg, f.Optional, f.Doc, f.Events, f.class
				f.arg = &v
			}
			if f.Enum != nil {
				f.Compute = computeEnum
			}
			all = append(all, f)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	for _, f := range all {
		for i, n := range f.Either {
			f.refs[i] = &Ref{Field: find(all, n), Text: n, Index: -1}
		}
	}
	return all
}

func find(all []*Field, name string) *Field {
	i := sort.Search(len(all), func(i int) bool { return all[i].Name >= name })
	if i < len(all) && all[i].Name == name {
		return all[i]
	}
	return nil
}

// All returns every field in order of name. The slice and what it holds are shared and must not be changed.
func All() []*Field { return catalogue }

// Lookup returns the field called name, without an argument; nil for none.
func Lookup(name string) *Field { return find(catalogue, name) }

// Shorthands of the tables.

func threadField(name string, t Type, r Read, doc string) *Field {
	r.Base = Thread
	return &Field{Name: name, Type: t, Read: r, Doc: doc}
}

func fdField(name string, t Type, r Read, doc string) *Field {
	r.Base = File
	return &Field{Name: name, Type: t, Read: r, Events: actsOnFD, Doc: doc}
}

func computed(name string, t Type, doc string, fn func(*Ctx, event.Event, *Ref, *Value)) *Field {
	return &Field{Name: name, Type: t, Doc: doc, Compute: fn}
}

// never is the Compute of fields that rules may name and nothing fills yet.
func never(*Ctx, event.Event, *Ref, *Value) {}

// actsOnFD holds for the types whose events make, use or close an fd: only they have fd fields.
func actsOnFD(t event.Type) bool {
	return t.Info().Flags&(event.FlagCreatesFd|event.FlagUsesFd|event.FlagDestroysFd) != 0
}

func str(offset int) Read         { return Read{Offset: offset, Width: Str} }
func pstr(offset int) Read        { return Read{Offset: offset, Width: PStr} }
func u64NotZero(offset int) Read  { return Read{Offset: offset, Width: U64, HasNull: true} }
func i64NotZero(offset int) Read  { return Read{Offset: offset, Width: I64, HasNull: true} }
func i64(offset int) Read         { return Read{Offset: offset, Width: I64} }
func u32(offset int) Read         { return Read{Offset: offset, Width: U32} }
func threadFlag(mask uint64) Read { return Read{Offset: wasmabi.ThreadFlags, Width: U32, Mask: mask} }
func fileBit(mask uint64) Read    { return Read{Offset: wasmabi.FileBits, Width: U8, Mask: mask} }
func eventBit(mask uint64) Read {
	return Read{Base: Event, Offset: wasmabi.EventBits, Width: U32, Mask: mask}
}
func (r Read) withBase(b Base) Read { r.Base = b; return r }
