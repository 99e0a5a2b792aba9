package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/loss"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/compile"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/load"
)

var errProbe = errors.New("this kernel can't run the probe")

// eventLine is how `shikra events` shows an event when no format is given.
const eventLine = "%evt.num %evt.time %evt.cpu %proc.name (%thread.tid) %evt.type %evt.args"

func (a *app) eventsCmd() *cobra.Command {
	var capture, format string
	var count uint64
	var heavy bool
	c := &cobra.Command{
		Use:   "events [FILTER]",
		Short: "Print events, live or of a capture; FILTER is a condition as rules have",
		Long: "events prints what happens, without rules. FILTER is a condition in the rule language, and it is compiled and judged\n" +
			"as a rule is: shikra events 'evt.type = openat and fd.name startswith /etc'",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes one filter; put it in quotes", c.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			cfg.Base.All = cfg.Base.All || heavy
			filter := "evt.num exists"
			if len(args) == 1 {
				filter = args[0]
			}
			mods, err := a.filter(cfg, filter, format)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			cfg.Outputs.Stdout.Enabled, cfg.Outputs.File.Path = true, ""
			cfg.HTTP.Listen = ""
			cfg.Loss.Actions = []string{loss.Log} // what is printed are events
			sc := sensorConfig{modules: mods, json: a.json, format: output.Line, limit: count, reached: cancel, closed: cancel}
			if capture == "" {
				sc.wall = wallOffset
				cfg.Outputs.Queue = 1 << 16
				return a.watch(ctx, cfg, a.logger(cfg), sc, len(args) == 0)
			}
			sc.block = true
			return a.replay(ctx, cfg, capture, sc)
		},
	}
	c.Flags().StringVar(&capture, "capture", "", "read this capture `FILE` instead of the kernel")
	c.Flags().StringVarP(&format, "format", "p", eventLine, "how to print an event, with %fields")
	c.Flags().Uint64VarP(&count, "count", "n", 0, "stop after so many events")
	heavyFlag(c, &heavy)
	return c
}

// filterName is how errors name the filter.
const filterName = "filter"

// filter compiles a filter and the format of its events. Errors have their place in what the user wrote.
func (a *app) filter(c *config.Config, filter, format string) ([][]byte, error) {
	wasm, ds, err := load.Compile([]load.Source{{Name: filterName, Data: filterRule(filter, format)}},
		load.Options{Compile: compile.Options{Name: filterName, WindowSize: arenaConfig(c).WindowSize()}})
	for _, d := range ds {
		if d.Severity != ast.Error {
			continue
		}
		for line, text := range map[int]string{filterLine: filter, filterLine + 1: format} {
			// Only what stands in quotes as it was written keeps its columns.
			if d.Pos.Line == line && strconv.Quote(text) == `"`+text+`"` {
				d.Pos.Line, d.Pos.Col, d.Line = 1, max(d.Pos.Col-filterCol, 1), text
				if line != filterLine {
					d.Pos.File = "format"
				}
				break
			}
		}
		fmt.Fprint(a.err, d.Text())
	}
	if err != nil {
		if errors.Is(err, load.ErrRules) {
			return nil, silentError{err}
		}
		return nil, err
	}
	return [][]byte{wasm}, nil
}

// Where filterRule puts the filter: the line, and the bytes before it. The format stands in the next line at the same place.
const (
	filterLine = 3
	filterCol  = len(`  condition: "`)
)

// filterRule makes the rules file that judges a filter.
func filterRule(filter, format string) []byte {
	var b strings.Builder
	b.WriteString("- rule: events\n  desc: a filter of the command line\n  condition: ")
	b.WriteString(strconv.Quote(filter))
	b.WriteString("\n  output:    ")
	b.WriteString(strconv.Quote(format))
	b.WriteString("\n  priority: DEBUG\n")
	return []byte(b.String())
}
