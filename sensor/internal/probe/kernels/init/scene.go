package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The whole sensor watches a short scene: this program, under the names of others, does what the default rules are for.

// sensor is where kernels.sh puts it, when the scene is to be played.
const sensor = "/usr/bin/shikra"

// How long the sensor may take to start, to alert and to stop; emulated on a loaded host, it has to compile its rules first.
const (
	startTime = 10 * time.Minute
	alertTime = 3 * time.Minute
	stopTime  = 2 * time.Minute
)

// parts are what this program does under other names; tests want a sleep, too.
var parts = map[string]func() error{
	"cat": func() error {
		_, err := os.ReadFile(os.Args[1])
		return err
	},
	"sleep": func() error {
		seconds, err := strconv.ParseFloat(os.Args[1], 64)
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		return err
	},
	"nginx": func() error { return exec.Command("/usr/bin/sh", "-c", "id").Run() },
	"tee":   func() error { return os.WriteFile(os.Args[1], []byte("#!\n"), 0o755) },
	"chmod": func() error { return os.Chmod(os.Args[1], 0o600) },
	"rm":    func() error { return os.Remove(os.Args[1]) },
	"mv":    func() error { return os.Rename(os.Args[1], os.Args[2]) },
	"setfattr": func() error { // whether the file system has attributes or not
		if err := unix.Setxattr(os.Args[1], "trusted.shikra", []byte("1"), 0); err != unix.EOPNOTSUPP {
			return err
		}
		return nil
	},
	"sh": func() error {
		if len(os.Args) < 3 || os.Args[1] != "connect" {
			return nil
		}
		c, err := net.Dial("tcp", os.Args[2])
		if err != nil {
			return err
		}
		return c.Close()
	},
}

// expectation is an alert that has to come, with the values that some of its fields have to have.
type expectation struct {
	rule   string
	fields map[string]string
}

// castParts makes the names under which this program plays them.
func castParts() error {
	for name := range parts {
		if err := os.Link("/init", "/usr/bin/"+name); err != nil {
			return err
		}
	}
	return nil
}

// The sensor's configuration, and other names that it has had since before the sensor started; a file that isn't the sensor's.
const (
	config = "/etc/shikra/shikra.yaml"
	alias  = "/root/alias"
	beside = "/root/beside"
)

// setScene makes what must be there before the sensor starts.
func setScene() error {
	return errors.Join(
		os.MkdirAll("/etc/shikra", 0o755),
		os.WriteFile(config, []byte("log: {level: info}\n"), 0o600),
		os.Link(config, alias),
		os.WriteFile(beside, nil, 0o600))
}

// playScene starts the sensor with its default rules, plays, and checks that each part was noticed and that the sensor stops
// when told to.
func playScene(w io.Writer) error {
	if err := setScene(); err != nil {
		return err
	}
	cmd := exec.Command(sensor, "run", "--json")
	alerts, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	logs, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	watching := make(chan struct{})
	lines := make(chan string, 1024)
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(alerts); sc.Scan(); {
			fmt.Fprintln(w, sc.Text())
			lines <- sc.Text()
		}
	}()
	go func() {
		told := false
		for sc := bufio.NewScanner(logs); sc.Scan(); {
			fmt.Fprintln(w, sc.Text())
			if !told && strings.Contains(sc.Text(), "msg=watching") {
				told = true
				close(watching)
			}
		}
		ended <- cmd.Wait()
	}()
	select {
	case <-watching:
	case err := <-ended:
		return fmt.Errorf("the sensor ended: %w", errors.Join(err, errors.New("before it watched")))
	case <-time.After(startTime):
		_ = cmd.Process.Kill()
		return fmt.Errorf("the sensor doesn't watch after %v", startTime)
	}
	want, err := act()
	if err != nil {
		_ = cmd.Process.Kill()
		return err
	}
	want, strange := await(lines, want)
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	go func() { // the sensor isn't held up by what nobody waits for any more
		for range lines {
		}
	}()
	select {
	case err = <-ended:
		if err != nil {
			err = fmt.Errorf("the sensor stopped with %w", err)
		}
	case <-time.After(stopTime):
		_ = cmd.Process.Kill()
		err = fmt.Errorf("the sensor doesn't stop within %v", stopTime)
	}
	errs := []error{err}
	for _, m := range want {
		errs = append(errs, fmt.Errorf("no alert %q with %v", m.rule, m.fields))
	}
	for _, s := range strange {
		errs = append(errs, fmt.Errorf("alert for nothing: %s", s))
	}
	return errors.Join(errs...)
}

// act plays each part, and returns the alerts that have to follow.
func act() ([]expectation, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	for _, args := range [][]string{
		{"/usr/bin/cat", "/etc/shadow"},
		{"/usr/bin/nginx"},
		{"/usr/bin/tee", "/usr/bin/planted"},
		{"/usr/bin/sh", "connect", l.Addr().String()},
		// What isn't the sensor's, and then what is, by its name and by another one.
		{"/usr/bin/chmod", beside},
		{"/usr/bin/setfattr", beside},
		{"/usr/bin/mv", beside, beside + "2"},
		{"/usr/bin/rm", beside + "2"},
		{"/usr/bin/chmod", config},
		{"/usr/bin/chmod", alias},
		{"/usr/bin/setfattr", config},
		{"/usr/bin/setfattr", alias},
		{"/usr/bin/tee", config},
		{"/usr/bin/mv", alias, alias + "2"},
		{"/usr/bin/rm", alias + "2"},
		{"/usr/bin/rm", config},
	} {
		if err := child(os.Stderr, alertTime, args[0], args[1:]...); err != nil {
			return nil, fmt.Errorf("play %s: %w", args[0], err)
		}
	}
	return []expectation{
		{"Sensitive file read", map[string]string{
			"fd.name": "/etc/shadow", "proc.cmdline": "cat /etc/shadow", "proc.pname": "init", "user.name": "root", "proc.exepath": "/usr/bin/cat"}},
		{"Shell started by a network daemon", map[string]string{
			"proc.cmdline": "sh -c id", "proc.pname": "nginx", "user.name": "root", "proc.exepath": "/usr/bin/sh"}},
		{"Write below a binary directory", map[string]string{"fd.name": "/usr/bin/planted", "proc.cmdline": "tee /usr/bin/planted"}},
		{"Shell connects to the network", map[string]string{"proc.cmdline": "sh connect " + l.Addr().String(), "proc.pname": "init"}},
		// Once each, as every one of these kernels has the hooks: the call itself doesn't alert then.
		sensorChanged("security_inode_setattr", "chmod "+config),
		sensorChanged("security_inode_setattr", "chmod "+alias),
		sensorChanged("security_inode_setxattr", "setfattr "+config),
		sensorChanged("security_inode_setxattr", "setfattr "+alias),
		sensorChanged("security_inode_setattr", "tee "+config),
		sensorChanged("security_inode_rename", "mv "+alias+" "+alias+"2"),
		sensorChanged("security_inode_unlink", "rm "+alias+"2"),
		sensorChanged("security_inode_unlink", "rm "+config),
	}, nil
}

// sensorChanged is the alert on an act on the sensor's files.
func sensorChanged(event, cmdline string) expectation {
	return expectation{"Sensor file changed", map[string]string{"evt.type": event, "proc.cmdline": cmdline}}
}

// await reads alerts until all that are wanted have come, and some time has passed in which others might. It returns those
// that are still wanted, and the alerts that nobody wanted.
func await(lines <-chan string, want []expectation) (missing []expectation, strange []string) {
	end := time.After(alertTime)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return want, strange
			}
			i := indexOf(want, line)
			if i < 0 {
				strange = append(strange, line)
				continue
			}
			if want = append(want[:i], want[i+1:]...); len(want) == 0 {
				end = time.After(time.Second)
			}
		case <-end:
			return want, strange
		}
	}
}

// indexOf returns which of the expectations an alert fulfils, -1 for none.
func indexOf(want []expectation, line string) int {
	var a struct {
		Rule   string         `json:"rule"`
		Fields map[string]any `json:"output_fields"`
	}
	if json.Unmarshal([]byte(line), &a) != nil {
		return -1
	}
next:
	for i, e := range want {
		if e.rule != a.Rule {
			continue
		}
		for k, v := range e.fields {
			if fmt.Sprint(a.Fields[k]) != v {
				continue next
			}
		}
		return i
	}
	return -1
}
