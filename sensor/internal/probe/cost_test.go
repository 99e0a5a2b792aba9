package probe

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// budgetsFile says what the verifier had to do for each program under other kernels; kernels.sh compares with it there.
var budgetsFile = filepath.Join("kernels", "budgets.txt")

// readBudgets returns the most that the verifier had to do for each program under any kernel of an architecture.
func readBudgets(arch string) (map[string]int, error) {
	f, err := os.Open(budgetsFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	most := map[string]int{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := strings.Fields(sc.Text())
		if strings.HasPrefix(sc.Text(), "#") {
			continue
		}
		if len(line) != 3 {
			return nil, fmt.Errorf("%s: %q", budgetsFile, sc.Text())
		}
		n, err := strconv.Atoi(line[2])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", budgetsFile, err)
		}
		if strings.HasSuffix(line[0], "-"+arch) {
			most[line[1]] = max(most[line[1]], n)
		}
	}
	return most, nil
}

// TestBudgets: no program costs this kernel's verifier more than a quarter above the most that it costs others.
func TestBudgets(t *testing.T) {
	needProbe(t)
	budgets, err := readBudgets(runtime.GOARCH)
	if os.IsNotExist(err) {
		t.Skip("not run in the repository: there are no budgets")
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := Load(Config{Generic: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	loaded := map[string]int{}
	costs, known := p.Costs()
	for _, c := range costs {
		loaded[c.Program] = c.Instructions
	}
	n := 0
	if err := Costs(func(c Cost) {
		budget, ok := budgets[c.Program]
		switch {
		case c.Err != nil:
			t.Errorf("%s: %s", c.Program, reasonOf(c.Err))
		case !ok:
			t.Errorf("%s has no budget: make budgets", c.Program)
		case c.Instructions > budget*5/4+500:
			t.Errorf("%s costs %d instructions, its budget is %d: make budgets", c.Program, c.Instructions, budget)
		case known && loaded[c.Program] != 0 && loaded[c.Program] != c.Instructions:
			t.Errorf("%s costs %d instructions, and %d when loaded with the others", c.Program, c.Instructions, loaded[c.Program])
		}
		n++
	}); err != nil {
		t.Fatal(err)
	}
	if n < 150 {
		t.Errorf("only %d programs", n)
	}
}
