package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shikra-sensor/shikra/sensor/internal/adapt"
	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
)

// checked is what `probe check --json` prints.
type checked struct {
	probe.Report
	Captured []adapt.Syscall `json:"captured"` // with the configured rules
	Ignored  []adapt.Ignored `json:"not_captured"`
}

// configuredSyscalls returns what is captured with the configured rules.
func (a *app) configuredSyscalls(cfg *config.Config) (*selection, error) {
	src, err := ruleSources(cfg, nil)
	if err != nil {
		return nil, err
	}
	mods, err := a.modules(cfg, src, checkOptions(cfg), true, false)
	if err != nil {
		return nil, err
	}
	return selectSyscalls(cfg, mods, false)
}

// write prints the system calls by what they are captured for.
func (s *selection) write(w io.Writer) {
	by := map[string][]string{}
	for _, c := range s.Syscalls {
		why := strings.Join(c.For, " and ")
		by[why] = append(by[why], c.Name)
	}
	fmt.Fprintf(w, "\ncaptured with the configured rules: %d system calls\n", len(s.Syscalls))
	for _, why := range slices.Sorted(maps.Keys(by)) {
		fmt.Fprintf(w, "  for %s: %s\n", why, strings.Join(by[why], " "))
	}
	for _, warning := range s.Warnings() {
		fmt.Fprintf(w, "  %s\n", warning)
	}
}

func (a *app) probeCmd() *cobra.Command {
	c := &cobra.Command{Use: "probe", Short: "Ask what this kernel can do", RunE: group}
	c.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Say what this kernel can and can't do for the sensor, and why (as root)",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			sel, err := a.configuredSyscalls(cfg)
			if err != nil {
				fmt.Fprintf(a.err, "what would be captured: %v\n", err)
			}
			load := probe.Config{Tier: cfg.Probe.Tier, ExactPaths: cfg.Probe.ExactPaths}
			if sel != nil {
				load.Syscalls = sel.Names()
			}
			r := probe.Check(load)
			if a.json {
				out := checked{Report: r}
				if sel != nil {
					out.Captured, out.Ignored = sel.Syscalls, sel.Ignored
				}
				if err := a.printJSON(out); err != nil {
					return err
				}
			} else {
				if _, err := fmt.Fprint(a.out, r); err != nil {
					return err
				}
				if sel != nil {
					sel.write(a.out)
				}
			}
			if !r.OK {
				return silentError{errProbe}
			}
			return nil
		},
	})
	return c
}
