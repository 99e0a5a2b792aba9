package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	if os.Getenv(sensorEnv) != "" {
		os.Unsetenv(sensorEnv)
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	if os.Getenv(attackEnv) != "" {
		attack()
		os.Exit(0)
	}
	testscript.Main(m, map[string]func(){
		"shikra": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the command line as a user does: each file of testdata is a session.
func TestScripts(t *testing.T) {
	data := falcoData(t)
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("FALCO_DATA", data)
			return os.Chmod(e.WorkDir, 0o755)
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "falco-data":
				return data != "", nil
			case "live":
				return liveMachine(t), nil
			case "wasm-validate":
				return onPath("wasm-validate"), nil
			}
			return false, nil
		},
	})
}

// falcoData is where captures and rules that nobody here made are; "" when this machine doesn't have them, which in CI
// is a failure.
func falcoData(t *testing.T) string {
	d := os.Getenv("SHIKRA_FALCO_DATA")
	if d == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("SHIKRA_FALCO_DATA isn't set in CI")
		}
		t.Log("SHIKRA_FALCO_DATA isn't set: the captures aren't replayed")
		return ""
	}
	d, err := filepath.Abs(d)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// liveMachine reports whether the probe can run here: root and BTF. Then a live test never skips.
func liveMachine(t *testing.T) bool {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	ok := os.Geteuid() == 0 && err == nil
	if !ok && os.Getenv("SHIKRA_LIVE") != "" {
		t.Fatal("SHIKRA_LIVE is set, but there is no root or no BTF")
	}
	return ok
}

func onPath(name string) bool {
	for _, d := range filepath.SplitList(os.Getenv("PATH")) {
		if st, err := os.Stat(filepath.Join(d, name)); err == nil && st.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}
