// Command shikra-loadgen makes a load of system calls and prints as JSON what it made.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/loadgen"
)

func main() {
	var cfg loadgen.Config
	f := flag.NewFlagSet("shikra-loadgen", flag.ExitOnError)
	f.StringVar(&cfg.Mode, "mode", loadgen.ModeOpenClose, "openclose, mix, spawn, getppid or rare")
	f.DurationVar(&cfg.Duration, "duration", 0, "how long (default 5s)")
	f.IntVar(&cfg.CPU, "cpu", -1, "CPU to run on; -1 for any")
	f.StringVar(&cfg.Path, "path", "", "file to open (default /dev/null)")
	f.IntVar(&cfg.Rate, "rate", 0, "mix: events a second; 0 for as fast as possible")
	f.IntVar(&cfg.Connect, "connect", 0, "mix: of 1000 units, how many connect, on loopback (default 100)")
	f.IntVar(&cfg.Exec, "exec", 0, "mix: of 1000 units, how many start a process (default 2)")
	f.StringVar(&cfg.Plant, "plant", "", "mix: a sensitive file to open now and then")
	f.IntVar(&cfg.PlantEvery, "plant-every", 0, "mix: units between two such opens (default 1000)")
	f.DurationVar(&cfg.Burst, "burst", 0, "mix: how often to make what is due (default 2ms)")
	_ = f.Parse(os.Args[1:])
	if f.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "shikra-loadgen: unknown argument %q\n", f.Arg(0))
		os.Exit(2)
	}
	var stop atomic.Bool
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGINT, unix.SIGTERM)
	go func() { <-ch; stop.Store(true) }()
	res, err := loadgen.Run(cfg, &stop)
	if err != nil {
		fmt.Fprintln(os.Stderr, "shikra-loadgen:", err)
		os.Exit(1)
	}
	out, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		fmt.Fprintln(os.Stderr, "shikra-loadgen:", err)
		os.Exit(1)
	}
	fmt.Println(string(out))
}
