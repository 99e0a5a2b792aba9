package field

import (
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

func BenchmarkGet(b *testing.B) {
	w := newWorld(b)
	e := w.event(b, w.record(300, event.SyscallOpenatV2X).Int(3).Int(-100).String("../../etc/shadow").Int(0x1001).Int(0).Int(5).Int(4711).Done(), 300, 3)
	for _, text := range []string{
		"proc.name", "proc.aname[2]", "fd.name", "fd.directory", "fd.typechar", "container.id", "evt.is_open_read", "fd.type", "evt.type",
		"evt.arg.flags", "evt.arg.name", "evt.rawarg.flags", "fs.path.name", "evt.args", "evt.time", "evt.time.iso8601",
	} {
		r := ref(b, text)
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			var v Value
			for b.Loop() {
				r.Get(w.c, e, &v)
			}
		})
	}
}
