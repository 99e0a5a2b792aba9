//go:build !amd64

package probe

func compatCases() []callCase { return nil }

func compatIDCases() []callCase { return nil }

func compatTargetCases() []callCase { return nil }
