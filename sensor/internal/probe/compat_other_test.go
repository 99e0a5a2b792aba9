//go:build !amd64

package probe

func compatCases() []callCase { return nil }
