// Package cli is shikra's command line: it reads the configuration, puts the stages together and prints what they say.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shikra-sensor/shikra/sensor/internal/config"
)

// The exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a wrong call; it exits with 2 and points at the command's help.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// silentError has been told to the user already; only its status counts.
type silentError struct{ err error }

func (e silentError) Error() string { return e.err.Error() }

// app is what the commands share.
type app struct {
	in       io.Reader
	out, err io.Writer

	configFile string
	overrides  []string
	json       bool
}

// Main runs the command line args (without the program's name) and returns the exit status: 0 done, 1 a failure, 2 wrong usage.
func Main(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once, whatever it is waiting for.
	context.AfterFunc(ctx, stop)
	// A reader of our output that goes away is an error of that output, not the end of the sensor.
	signal.Ignore(syscall.SIGPIPE)
	a := &app{in: in, out: out, err: errw}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	var silent silentError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return exitFailure
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"):
		fmt.Fprintf(errw, "shikra: %v\nRun '%s --help' for usage.\n", err, cmd.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(errw, "shikra: %v\n", err)
		return exitFailure
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "shikra",
		Short:         "A compact runtime-security sensor for edge and IoT Linux nodes",
		Long:          "shikra watches the kernel, keeps the state that gives events meaning, and judges them with rules compiled to WebAssembly.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       Version(),
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate("shikra {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = false
	pf := root.PersistentFlags()
	pf.StringVarP(&a.configFile, "config", "c", "", "configuration `FILE` (default "+config.DefaultFile+", when it exists)")
	pf.StringArrayVarP(&a.overrides, "option", "o", nil, "set a configuration `KEY=VALUE`; may be given again")
	pf.BoolVar(&a.json, "json", false, "print JSON, for programs to read")
	root.AddCommand(a.runCmd(), a.replayCmd(), a.eventsCmd(), a.rulesCmd(), a.fieldsCmd(), a.syscallsCmd(), a.probeCmd(), a.configCmd(), a.versionCmd())
	return root
}

// exactArgs is cobra.ExactArgs with our status.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s takes %s, not %d arguments", c.CommandPath(), what, len(args))}
		}
		return nil
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, not %q", c.CommandPath(), args[0])}
	}
	return nil
}

// group is the RunE of a command that only holds others.
func group(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())}
	}
	return c.Help()
}

func (a *app) config() (*config.Config, error) {
	return config.Load(config.Options{File: a.configFile, Overrides: a.overrides, Env: os.Environ()})
}

func (a *app) logger(c *config.Config) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Log.Level)); err != nil { // checked by config
		l = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: l}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.err, o))
	}
	return slog.New(slog.NewTextHandler(a.err, o))
}

// version is set by the linker.
var version = "devel"

// Version returns the sensor's version.
func Version() string { return version }

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"version": Version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			fmt.Fprintf(a.out, "shikra %s (%s %s/%s)\n", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
