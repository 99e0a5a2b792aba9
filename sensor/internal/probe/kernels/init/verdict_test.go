package main

import (
	"errors"
	"slices"
	"testing"
)

func TestJudge(t *testing.T) {
	exit := errors.New("exit status 1")
	for _, c := range []struct {
		name, out       string
		err             error
		passed          int
		failures, skips []string
	}{
		{name: "all pass", out: "=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\n--- PASS: TestB (0.00s)\nPASS\n", passed: 2},
		{name: "subtests count, not what holds them",
			out: "=== RUN   TestA\n=== RUN   TestA/x\n=== RUN   TestA/y\n    a_test.go:7: wrong\n--- FAIL: TestA (0.00s)\n" +
				"    --- PASS: TestA/x (0.00s)\n    --- FAIL: TestA/y (0.00s)\nFAIL\n",
			err: exit, passed: 1, failures: []string{"p TestA/y: a_test.go:7: wrong"}},
		{name: "a parent that fails by itself",
			out: "=== RUN   TestA\n=== RUN   TestA/x\n=== NAME  TestA\n    a_test.go:9: left over\n--- FAIL: TestA (0.00s)\n    --- PASS: TestA/x (0.00s)\nFAIL\n",
			err: exit, passed: 1, failures: []string{"p TestA: a_test.go:9: left over"}},
		{name: "the first and the last of what was said",
			out: "=== RUN   TestA\n    a_test.go:3: one\n    a_test.go:4: two\n    a_test.go:5: three\n--- FAIL: TestA (0.00s)\nFAIL\n",
			err: exit, failures: []string{"p TestA: a_test.go:3: one ... a_test.go:5: three"}},
		{name: "skip", out: "=== RUN   TestA\n    a_test.go:3: no such file system\n--- SKIP: TestA (0.00s)\nPASS\n",
			skips: []string{"p TestA: a_test.go:3: no such file system"}},
		{name: "a crash", out: "=== RUN   TestA\npanic: oops\n", err: exit, failures: []string{"p: exit status 1, in TestA"}},
		{name: "a crash after a failure", out: "=== RUN   TestA\n    a_test.go:4: why\n--- FAIL: TestA (0.00s)\n=== RUN   TestB\npanic: oops\n", err: errors.New("exit status 2"),
			failures: []string{"p TestA: a_test.go:4: why", "p: exit status 2, in TestB"}},
		{name: "nothing ran", out: "testing: warning: no tests to run\nPASS\n", failures: []string{"p: no test ran"}},
		{name: "what a test says after its result isn't the next one's",
			out: "=== RUN   TestA\n--- FAIL: TestA (0.00s)\n    a_test.go:4: why\n=== RUN   TestB\n--- PASS: TestB (0.00s)\nFAIL\n",
			err: exit, passed: 1, failures: []string{"p TestA: a_test.go:4: why"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v verdict
			v.judge("p", []byte(c.out), c.err)
			if v.passed != c.passed || !slices.Equal(v.failures, c.failures) || !slices.Equal(v.skips, c.skips) {
				t.Errorf("got %+v", v)
			}
		})
	}
}
