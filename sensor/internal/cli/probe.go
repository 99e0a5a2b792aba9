package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shikra-sensor/shikra/sensor/internal/probe"
)

func (a *app) probeCmd() *cobra.Command {
	c := &cobra.Command{Use: "probe", Short: "Ask what this kernel can do", RunE: group}
	c.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Say what this kernel can and can't do for the sensor, and why (as root)",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			r := probe.Check()
			if a.json {
				if err := a.printJSON(r); err != nil {
					return err
				}
			} else if _, err := fmt.Fprint(a.out, r); err != nil {
				return err
			}
			if !r.OK {
				return silentError{errProbe}
			}
			return nil
		},
	})
	return c
}
