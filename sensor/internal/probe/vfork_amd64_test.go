package probe

import "github.com/shikra-sensor/shikra/sensor/internal/probe/rawcall"

func vfork() int64 { return rawcall.VforkExit(7) }
