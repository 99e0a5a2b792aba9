package testkit

import (
	"os"
	"testing"
)

// Missing skips a test because this machine lacks what it needs. In CI (the variable CI is set) nothing may be lacking, so
// there it fails: a skip can't hide a broken installation.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// MissingLive is Missing for what a live test needs: it fails also where SHIKRA_LIVE says that live tests run.
func MissingLive(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("SHIKRA_LIVE") != "" {
		t.Fatal(what)
	}
	Missing(t, what)
}
