// Command shikra is the sensor and its tools; all of it stands in package cli.
package main

import (
	"os"

	"github.com/shikra-sensor/shikra/sensor/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
