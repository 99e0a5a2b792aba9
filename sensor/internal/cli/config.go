package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/shikra-sensor/shikra/sensor/internal/adapt"
)

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) configCmd() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check and show the configuration", RunE: group}
	c.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Say whether the configuration is right, and if not where it is wrong",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err == nil {
				err = knownCalls(cfg.Base.CustomSet)
			}
			if err != nil {
				if a.json {
					if err := a.printJSON(map[string]any{"ok": false, "error": err.Error()}); err != nil {
						return err
					}
					return silentError{err}
				}
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"ok": true, "files": cfg.Sources})
			}
			fmt.Fprintln(a.out, "the configuration is right")
			return nil
		},
	}, &cobra.Command{
		Use:   "show",
		Short: "Print the configuration in use, defaults included",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			b, err := cfg.YAML()
			if err != nil {
				return err
			}
			if a.json {
				var m map[string]any
				if err := yaml.Unmarshal(b, &m); err != nil {
					return err
				}
				return a.printJSON(m)
			}
			_, err = a.out.Write(b)
			return err
		},
	})
	return c
}

// knownCalls returns an error when a name of base_syscalls.custom_set, without its !, is that of no system call. The sensor only
// warns of it and runs on.
func knownCalls(set []string) error {
	s := adapt.Select(nil, adapt.Config{CustomSet: set})
	if len(s.Unknown) == 0 {
		return nil
	}
	return fmt.Errorf("base_syscalls.custom_set: no system call is called %q; `shikra syscalls` lists them", s.Unknown)
}
