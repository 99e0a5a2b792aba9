package cli

import (
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shikra-sensor/shikra/sensor/internal/adapt"
	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/host"
)

// selection is what of the system calls is captured, and the modules for which it is.
type selection struct {
	*adapt.Selection
	modules []adapt.Module
}

// heavyFlag is Falco's -A.
func heavyFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVarP(to, "all", "A", false, "capture also calls of heavy input and output (read, write, send, recv …) that rules or the filter name")
}

// selectSyscalls decides which system calls are captured for the modules; for everything all that make events.
func selectSyscalls(cfg *config.Config, modules [][]byte, everything bool) (*selection, error) {
	s := &selection{}
	for _, m := range modules {
		man, err := host.ReadManifest(m)
		if err != nil {
			return nil, err
		}
		rules, err := host.ReadRules(m)
		if err != nil {
			return nil, err
		}
		s.modules = append(s.modules, adapt.Module{Manifest: man, Rules: rules})
	}
	s.Selection = adapt.Select(s.modules, adapt.Config{
		CustomSet: cfg.Base.CustomSet, Repair: cfg.Base.Repair, HeavyIO: cfg.Base.All, Everything: everything,
	})
	return s, nil
}

// report logs what is captured and warns of what rules name in vain.
func (s *selection) report(log *slog.Logger) {
	for _, w := range s.Warnings() {
		log.Warn(w)
	}
	for _, name := range s.Unknown {
		log.Warn("base_syscalls.custom_set: no system call has that name", "name", name)
	}
	log.Info("capturing", "syscalls", len(s.Syscalls), "for_state_alone", s.alone(adapt.ForState))
	for _, c := range s.Syscalls {
		log.Debug("capturing", "syscall", c.Name, "for", strings.Join(c.For, ", "))
	}
}

// alone counts the calls that are captured for one reason only.
func (s *selection) alone(why string) (n int) {
	for _, c := range s.Syscalls {
		if len(c.For) == 1 && c.For[0] == why {
			n++
		}
	}
	return n
}
