package probe

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/shikra-sensor/shikra/bpf"
)

func TestZZProf(t *testing.T) {
	name := os.Getenv("PROG")
	spec, _ := bpf.LoadProbe()
	spec.Programs = map[string]*ebpf.ProgramSpec{name: spec.Programs[name]}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelInstruction | ebpf.LogLevelStats, LogSizeStart: 1 << 29}})
	if err != nil {
		var ve *ebpf.VerifierError
		if errors.As(err, &ve) {
			os.WriteFile("/tmp/prof/log", []byte(strings.Join(ve.Log, "\n")), 0o644)
		}
		t.Fatal("failed")
	}
	os.WriteFile("/tmp/prof/log", []byte(c.Programs[name].VerifierLog), 0o644)
}
