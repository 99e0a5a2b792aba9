package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
)

// ownFolders are those in which a sensor keeps its configuration, rules, trusted keys, modules and state.
var ownFolders = [...]string{"/etc/shikra", "/usr/lib/shikra", "/var/lib/shikra", "/run/shikra"}

// maxOwnFiles bounds the files that are known by their inode; all others in the sensor's folders are known by path.
const maxOwnFiles = 4096

// whatSensorIs describes the running sensor: its process, its files, the probe's BPF objects. files are what it was told to
// read besides the usual.
func whatSensorIs(c *config.Config, p *probe.Probe, files []string) (*field.Sensor, error) {
	s := &field.Sensor{
		PID: p.PID(), OwnPID: int64(os.Getpid()), OwnPGID: int64(unix.Getpgrp()),
		HasThread: func(tid int64) bool { return unix.Tgkill(os.Getpid(), int(tid), 0) == nil },
		SameRoot:  sameRoot,
		Files:     map[field.FileID]struct{}{}, BPF: map[field.BPFID]struct{}{},
	}
	paths := append(append(ownFolders[:len(ownFolders):len(ownFolders)], c.Sources...), files...)
	for _, file := range c.Sources { // what is put there is read at the next start
		if dir := filepath.Dir(file); filepath.Base(dir) != config.DropIns {
			paths = append(paths, filepath.Join(dir, config.DropIns))
		}
	}
	if exe, err := os.Executable(); err == nil {
		paths = append(paths, strings.TrimSuffix(exe, " (deleted)"))
	}
	if c.Outputs.File.Path != "" {
		paths = append(paths, c.Outputs.File.Path)
	}
	paths = append(paths, ownCgroups()...)
	known := map[string]bool{}
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			continue
		}
		add := func(path string) {
			st, err := os.Stat(path)
			if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
				return // /dev/null as a file for alerts is everybody's
			}
			if path != "/" && !known[path] {
				known[path] = true
				s.Paths = append(s.Paths, path)
			}
		}
		add(path)
		if real, err := filepath.EvalSymlinks(path); err == nil {
			add(real)
			noteFiles(s.Files, real)
		}
	}
	objects, err := p.Objects()
	for _, o := range objects {
		s.BPF[field.BPFID{Kind: o.Kind, ID: o.ID}] = struct{}{}
	}
	return s, err
}

// sameRoot reports whether a thread has this process's root directory, whatever mount namespace it is in. It looks at what the kernel
// has cached: nobody's file system is asked, which might not answer.
func sameRoot(tid int64) (same, ok bool) {
	var own, other unix.Statx_t
	const flags = unix.AT_STATX_DONT_SYNC | unix.AT_NO_AUTOMOUNT
	if unix.Statx(unix.AT_FDCWD, "/", flags, unix.STATX_INO, &own) != nil ||
		unix.Statx(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/root", tid), flags, unix.STATX_INO, &other) != nil {
		return false, false
	}
	return own.Ino == other.Ino && own.Dev_major == other.Dev_major && own.Dev_minor == other.Dev_minor, true
}

// ofKernel reports whether a path lies where the files aren't the sensor's own.
func ofKernel(path string) bool {
	return strings.HasPrefix(path, "/sys/") || strings.HasPrefix(path, "/dev/")
}

// noteFiles adds the files of path, a file or a folder, to ids.
func noteFiles(ids map[field.FileID]struct{}, path string) {
	if ofKernel(path) {
		return // known by path
	}
	_ = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err != nil || unix.Lstat(path, &st) != nil {
			return nil // it has just gone, or can't be read: its path is known
		}
		if len(ids) == maxOwnFiles {
			return fs.SkipAll
		}
		if d.Type().IsRegular() {
			ids[field.FileID{Dev: eventDev(uint64(st.Dev)), Ino: st.Ino}] = struct{}{}
		}
		return nil
	})
}

// guardedFiles returns the files below the sensor's paths, and the folders above them, by what they are: for the hooks that the
// kernel asks with objects and not with paths.
func guardedFiles(paths []string) []probe.GuardedFile {
	var out []probe.GuardedFile
	add := func(path string, what uint32) {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil && len(out) < probe.MaxGuarded {
			out = append(out, probe.GuardedFile{Major: unix.Major(uint64(st.Dev)), Minor: unix.Minor(uint64(st.Dev)), Ino: st.Ino, What: what})
		}
	}
	above := map[string]bool{"/": true}
	paths = slices.DeleteFunc(slices.Clone(paths), ofKernel)
	for _, path := range paths {
		for dir := filepath.Dir(path); !above[dir]; dir = filepath.Dir(dir) {
			above[dir] = true
			add(dir, probe.GuardAbove)
		}
	}
	for _, path := range paths {
		_ = filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				add(path, probe.GuardOwn)
			}
			return nil
		})
	}
	return out
}

// eventDev encodes a device number as events do (new_encode_dev, include/linux/kdev_t.h).
func eventDev(dev uint64) uint32 {
	minor := unix.Minor(dev)
	return minor&0xff | unix.Major(dev)<<8 | (minor&^0xff)<<12
}

// ownCgroups returns the folders of the sensor's own cgroups, by which it could be frozen, starved or killed, in every hierarchy that is
// mounted where they usually are; not the roots, which it shares with everybody.
func ownCgroups() (dirs []string) {
	for line := range strings.Lines(readSmall("/proc/self/cgroup")) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(part) < 3 || part[2] == "/" || strings.Contains(part[2], "..") {
			continue
		}
		dir := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(part[1], "name="), part[2])
		if part[1] == "" && !isDir(dir) {
			dir = filepath.Join("/sys/fs/cgroup/unified", part[2])
		}
		if isDir(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func readSmall(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
