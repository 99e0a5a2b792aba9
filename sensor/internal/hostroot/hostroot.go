// Package hostroot opens what lies below a directory that stands for another root: the host's, for a sensor in a container,
// or a container's, for a sensor on the host.
//
// Symbolic links, absolute ones too, stay within that root: what a container put there can't lead to the host's files.
package hostroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// ReadFile reads at most limit bytes of the regular file called name under root. What isn't a regular file is an error; a
// fifo or a device is not waited for.
func ReadFile(root, name string, limit int64) ([]byte, error) {
	fd, err := open(root, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// IsSocket reports whether name under root is a unix socket.
func IsSocket(root, name string) bool {
	fd, err := openSocket(root, name)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// openSocket returns an O_PATH fd of the socket called name under root.
func openSocket(root, name string) (int, error) {
	fd, err := open(root, name, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		err = errors.New("not a socket")
	}
	if err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "connect", Path: name, Err: err}
	}
	return fd, nil
}

// DialUnix connects to the unix socket called name under root, however long its path is.
func DialUnix(ctx context.Context, root, name string) (net.Conn, error) {
	fd, err := openSocket(root, name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without the number of our fd
		}
		return nil, &os.PathError{Op: "connect", Path: name, Err: err}
	}
	return c, nil
}

// open opens name under root (openat2, 5.6+).
func open(root, name string, flags int) (int, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT})
	if err == unix.ENOSYS || err == unix.EPERM { // an old kernel, or a filter of system calls that doesn't know it
		fd, err = openWithin(dir, strings.TrimLeft(name, "/"), flags)
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// openWithin does what openat2 does: component by component, and a link's target is a name under dir.
func openWithin(dir int, name string, flags int) (int, error) {
	at, done, rest := dir, "", name // rest is a name in the directory at, which is called done and has no links in its name
	restart := func(from string) {
		if at != dir {
			unix.Close(at)
		}
		at, done, rest = dir, "", from
	}
	defer func() { restart("") }()
	for links := 0; ; {
		part, more, _ := strings.Cut(rest, "/")
		more = strings.TrimLeft(more, "/")
		switch {
		case part == "" && more == "":
			part = "."
		case part == "" || part == "." && more != "":
			rest = more
			continue
		case part == "..":
			restart(path.Dir("/" + done)[1:] + "/" + more)
			continue
		}
		how := flags
		if more != "" {
			how = unix.O_PATH
		}
		fd, err := unix.Openat(at, part, how|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		link := err == unix.ELOOP
		if err == nil && how&unix.O_PATH != 0 { // which opens a link itself
			var st unix.Stat_t
			if err = unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
				unix.Close(fd)
				link = err == nil
			}
		}
		switch {
		case link:
			buf := make([]byte, unix.PathMax)
			n, err := unix.Readlinkat(at, part, buf)
			if err != nil {
				return -1, err
			}
			if links++; links > 40 {
				return -1, unix.ELOOP
			}
			target := string(buf[:n])
			if !path.IsAbs(target) {
				target = done + "/" + target
			}
			restart(target + "/" + more)
		case err != nil:
			return -1, err
		case more == "":
			return fd, nil
		default:
			in := path.Join(done, part)
			restart(more)
			at, done = fd, in
		}
	}
}
