//go:build !amd64

package probe

var vfork func() int64
