module github.com/shikra-sensor/shikra/wasmabi

go 1.24
