package live

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/shikra-sensor/shikra/sensor/internal/loadgen"
)

// LoadEnv makes the test binary make a load, so that it comes from another process than the one that watches.
const LoadEnv = "SHIKRA_TEST_LOAD"

func playLoad(v string) {
	var cfg loadgen.Config
	err := json.Unmarshal([]byte(v), &cfg)
	if err == nil {
		var res loadgen.Result
		if res, err = loadgen.Run(cfg, nil); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(res)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
