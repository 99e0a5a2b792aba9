package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shikra-sensor/shikra/modules/edge"
	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/compile"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/explain"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/load"
)

// checkOptions says which rules the configuration takes.
func checkOptions(c *config.Config) check.Options {
	o := check.Options{MinPriority: c.Rules.MinPriority}
	for _, name := range c.Rules.Disable {
		o.Select = append(o.Select, check.Selection{Rule: name, From: "rules.disable"})
	}
	return o
}

// ruleSources reads the rules that a sensor runs: what -r names, else the configuration's files, else those
// built in and then those of config.RulesDir.
func ruleSources(c *config.Config, named []string) ([]load.Source, error) {
	paths := named
	if len(paths) == 0 {
		paths = c.Rules.Files
	}
	var usual []load.Source
	if len(paths) == 0 {
		if c.Rules.Builtin {
			usual = append(usual, load.Source{Name: edge.Name, Data: edge.Rules})
		}
		if _, err := os.Stat(config.RulesDir); err == nil {
			paths = []string{config.RulesDir}
		}
	}
	src, err := load.Read(paths, true)
	if err != nil {
		return nil, err
	}
	if src = append(usual, src...); len(src) == 0 {
		return nil, fmt.Errorf("no rules in %q: name *.yaml, *.yml or *.wasm files with -r or rules.files, or set rules.builtin", paths)
	}
	return src, nil
}

// modules compiles the rules files to one module and puts the modules named beside it. Warnings go to stderr when loud.
func (a *app) modules(c *config.Config, src []load.Source, o check.Options, allowUnsigned, loud bool) ([][]byte, error) {
	var files []load.Source
	var out [][]byte
	for _, s := range src {
		if !s.IsModule() {
			files = append(files, s)
			continue
		}
		if !allowUnsigned {
			return nil, fmt.Errorf("%s: an unsigned module isn't run; --allow-unsigned runs it all the same", s.Name)
		}
		out = append(out, s.Data)
	}
	if len(files) == 0 {
		return out, nil
	}
	wasm, ds, err := load.Compile(files, load.Options{Options: o, Compile: compile.Options{Name: "rules", WindowSize: arenaConfig(c).WindowSize()}})
	a.diagnose(ds, loud)
	if err != nil {
		return nil, err
	}
	return append([][]byte{wasm}, out...), nil
}

// diagnose prints errors, and warnings when loud.
func (a *app) diagnose(ds ast.Diagnostics, loud bool) {
	for _, d := range ds {
		if loud || d.Severity == ast.Error {
			fmt.Fprint(a.err, d.Text())
		}
	}
}

func (a *app) rulesCmd() *cobra.Command {
	c := &cobra.Command{Use: "rules", Short: "Check, compile and explain rules files", RunE: group}
	c.AddCommand(a.rulesCheckCmd(), a.rulesBuildCmd(), a.rulesExplainCmd(), a.rulesListCmd())
	return c
}

// sourcesArg reads the files named on the command line, or the built-in rules when none is.
func sourcesArg(args []string) ([]load.Source, error) {
	if len(args) == 0 {
		return []load.Source{{Name: edge.Name, Data: edge.Rules}}, nil
	}
	src, err := load.Read(args, false)
	if err != nil {
		return nil, err
	}
	for _, s := range src {
		if s.IsModule() {
			return nil, fmt.Errorf("%s: is a module, not a rules file", s.Name)
		}
	}
	return src, nil
}

// program checks the files named on the command line, or the built-in rules; what is wrong is printed.
func (a *app) program(args []string) (*check.Program, error) {
	src, err := sourcesArg(args)
	if err != nil {
		return nil, err
	}
	p, ds := load.Check(src, check.Options{})
	if p == nil {
		a.diagnose(ds, true)
		return nil, silentError{load.ErrRules}
	}
	return p, nil
}

func (a *app) rulesCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Say what is wrong in rules files, and where (default: the built-in rules)",
		RunE: func(_ *cobra.Command, args []string) error {
			src, err := sourcesArg(args)
			if err != nil {
				return err
			}
			p, ds := load.Check(src, check.Options{})
			if a.json {
				if ds == nil {
					ds = ast.Diagnostics{}
				}
				if err := a.printJSON(map[string]any{"ok": p != nil, "diagnostics": ds}); err != nil {
					return err
				}
			} else {
				a.diagnose(ds, true)
				if p != nil {
					fmt.Fprintf(a.out, "%d rules, no error, %d warnings\n", len(p.Rules), len(ds))
				}
			}
			if p == nil {
				if !a.json {
					fmt.Fprintf(a.err, "%d errors\n", ds.Errors())
				}
				return silentError{load.ErrRules}
			}
			return nil
		},
	}
}

func (a *app) rulesBuildCmd() *cobra.Command {
	var out, name, version string
	c := &cobra.Command{
		Use:   "build [FILE...]",
		Short: "Compile rules files to one Wasm module (default: the built-in rules)",
		RunE: func(_ *cobra.Command, args []string) error {
			src, err := sourcesArg(args)
			if err != nil {
				return err
			}
			if name == "" {
				name = strings.TrimSuffix(filepath.Base(src[0].Name), filepath.Ext(src[0].Name))
			}
			wasm, ds, err := load.Compile(src, load.Options{Compile: compile.Options{Name: name, Version: version}})
			a.diagnose(ds, true)
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, wasm, 0o644); err != nil {
				return fmt.Errorf("write module: %w", err)
			}
			if a.json {
				return a.printJSON(map[string]any{"file": out, "bytes": len(wasm)})
			}
			fmt.Fprintf(a.out, "%s: %d bytes\n", out, len(wasm))
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "rules.wasm", "the module to write")
	c.Flags().StringVar(&name, "name", "", "the module's name (default: the first file's)")
	c.Flags().StringVar(&version, "module-version", "0.0.0", "the module's version")
	return c
}

func (a *app) rulesExplainCmd() *cobra.Command {
	var only string
	c := &cobra.Command{
		Use:   "explain [FILE...]",
		Short: "Show what each rule needs: event types, system calls, fields, its condition in full (default: the built-in rules)",
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := a.program(args)
			if err != nil {
				return err
			}
			out := []*explain.Rule{}
			for _, r := range p.Rules {
				if only == "" || r.Name == only {
					out = append(out, explain.Explain(r))
				}
			}
			if only != "" && len(out) == 0 {
				return fmt.Errorf("no rule is called %q", only)
			}
			if a.json {
				return a.printJSON(out)
			}
			for _, x := range out {
				if err := x.WriteText(a.out); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&only, "rule", "", "only the rule of this `NAME`")
	return c
}

func (a *app) rulesListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list [FILE...]",
		Short: "List the rules with priority and tags (default: the built-in rules)",
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := a.program(args)
			if err != nil {
				return err
			}
			type row struct {
				Name     string   `json:"name"`
				Priority string   `json:"priority"`
				Tags     []string `json:"tags"`
				Desc     string   `json:"desc"`
			}
			rows := []row{}
			for _, r := range p.Rules {
				rows = append(rows, row{r.Name, r.Priority, r.Tags, r.Desc})
			}
			if a.json {
				return a.printJSON(rows)
			}
			for _, r := range rows {
				fmt.Fprintf(a.out, "%-13s %s [%s]\n", r.Priority, r.Name, strings.Join(r.Tags, ", "))
			}
			return nil
		},
	}
}
