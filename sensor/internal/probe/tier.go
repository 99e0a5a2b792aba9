package probe

import "fmt"

// The tiers: how the probe sees system calls. Which one serves is found out by loading and attaching, never by a version.
const (
	// TierBase is one program at the end of every system call, which calls the program of those that are wanted. It works
	// on every kernel and sees every call, also one that seccomp or a tracer refused and one that the kernel doesn't have.
	TierBase = "base"
	// TierFexit is a program at the end of the kernel's function of each wanted system call: other calls cost nothing.
	// What never comes to a function isn't seen: calls that seccomp or a tracer refused, and numbers without a call.
	TierFexit = "fexit"
	// TierAuto is TierFexit where all wanted system calls can be served, 32-bit ones too, and TierBase elsewhere.
	TierAuto = "auto"
)

// Tiers are the values that Config.Tier takes.
func Tiers() []string { return []string{TierBase, TierFexit, TierAuto} }

// checkTier makes the empty tier the default.
func checkTier(tier string) (string, error) {
	switch tier {
	case "":
		return TierBase, nil
	case TierBase, TierFexit, TierAuto:
		return tier, nil
	}
	return "", fmt.Errorf("tier %q: none of %v", tier, Tiers())
}

// Tier returns the tier in use, TierBase or TierFexit, and why it isn't another that was asked for.
func (p *Probe) Tier() (tier, reason string) {
	if p.fexit != nil {
		return TierFexit, ""
	}
	return TierBase, p.whyBase
}
