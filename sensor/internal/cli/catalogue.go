package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
)

func (a *app) fieldsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "fields",
		Short: "List the fields that conditions and outputs may name",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return field.List(a.out, a.json) },
	}
}

type syscallInfo struct {
	Name    string           `json:"name"`
	Event   string           `json:"event"`             // evt.type
	Parsed  bool             `json:"parsed"`            // its event has parameters of its own
	Program string           `json:"program,omitempty"` // of the probe, that makes the event; none where this architecture lacks the call
	Params  []string         `json:"params,omitempty"`
	NR      map[string]int16 `json:"numbers"`
}

func (a *app) syscallsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "syscalls",
		Short: "List the system calls by name, with their event and parameters",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			served, err := probe.Catalogue()
			if err != nil {
				return err
			}
			programs := map[string]string{}
			for _, s := range served {
				programs[s.Syscall.Name] = s.Program
			}
			var out []syscallInfo
			for _, s := range event.Syscalls() {
				if s.NR == [len(s.NR)]int16{-1, -1, -1, -1, -1} && s.Name != event.UnknownSyscall {
					continue // a tracepoint or a call of another architecture
				}
				in := s.Exit.Info()
				si := syscallInfo{
					Name: s.Name, Event: in.Name, Parsed: s.Exit != event.GenericX, Program: programs[s.Name], NR: map[string]int16{},
				}
				if !si.Parsed {
					si.Event = s.Name
				}
				for i, arch := range []string{"amd64", "arm64", "arm", "riscv64", "ia32"} {
					if s.NR[i] >= 0 {
						si.NR[arch] = s.NR[i]
					}
				}
				for _, p := range in.Params {
					si.Params = append(si.Params, p.Name)
				}
				out = append(out, si)
			}
			if a.json {
				return a.printJSON(out)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SYSCALL\tAMD64\tIA32\tARM64\tARM\tEVENT\tPARAMETERS")
			nr := func(s syscallInfo, arch string) string {
				if n, ok := s.NR[arch]; ok {
					return fmt.Sprint(n)
				}
				return "-"
			}
			for _, s := range out {
				ev := s.Event
				if !s.Parsed {
					ev = "(generic)"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, nr(s, "amd64"), nr(s, "ia32"), nr(s, "arm64"), nr(s, "arm"), ev, strings.Join(s.Params, " "))
			}
			return w.Flush()
		},
	}
}
