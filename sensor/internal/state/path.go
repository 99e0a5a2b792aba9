package state

import "bytes"

// maxName is the most bytes a file's name has; longer ones are cut and marked. It is the kernel's PATH_MAX.
const maxName = 4096

// clean reports whether path is absolute and has nothing to resolve: no empty, "." or ".." component and no slash at
// its end. Nearly every path that programs open is.
func clean(path []byte) bool {
	if len(path) == 0 || path[0] != '/' {
		return false
	}
	if len(path) == 1 {
		return true
	}
	if path[len(path)-1] == '/' {
		return false
	}
	i := 0
	// Eight bytes at a time, the last of which is looked at again as the first: is there a slash before a slash or dot?
	for ; i+8 <= len(path); i += 7 {
		v := le.Uint64(path[i:])
		slash := zeros(v ^ 0x2F2F2F2F2F2F2F2F)
		if slash<<8&(slash|zeros(v^0x2E2E2E2E2E2E2E2E)) != 0 && !cleanPart(path, i, i+7) {
			return false
		}
	}
	return cleanPart(path, i, len(path)-1)
}

// zeros has the top bit of every byte of v set that is 0, and no other.
func zeros(v uint64) uint64 {
	const low = 0x7F7F7F7F7F7F7F7F
	return ^((v&low + low) | v | low)
}

// cleanPart reports whether no component that begins after a slash in path[from:to] has to be resolved.
func cleanPart(path []byte, from, to int) bool {
	for i := from; i < to; i++ {
		if path[i] == '/' && (path[i+1] == '/' || path[i+1] == '.' && dotted(path[i+1:])) {
			return false
		}
	}
	return true
}

// dotted reports whether the component that b starts with, a dot, is "." or "..".
func dotted(b []byte) bool {
	i := 1
	if i < len(b) && b[i] == '.' {
		i++
	}
	return i == len(b) || b[i] == '/'
}

// appendPath appends to dst, which is empty, the path of name seen from dir, cleaned: empty components and "." are left
// out, ".." takes the one before it along and stops at the root, and only the root ends in a slash. A name that isn't
// absolute under a dir that isn't known comes out relative. Links are not followed.
func appendPath(dst, dir, name []byte) []byte {
	if len(name) == 0 || name[0] != '/' {
		dst = appendParts(dst, dir)
	}
	return appendParts(dst, name)
}

func appendParts(dst, path []byte) []byte {
	abs := len(dst) > 0 && dst[0] == '/'
	if len(dst) == 0 && len(path) > 0 && path[0] == '/' {
		dst, abs = append(dst, '/'), true
	}
	for len(path) > 0 {
		n := bytes.IndexByte(path, '/')
		part := path
		if n >= 0 {
			part, path = path[:n], path[n+1:]
		} else {
			path = nil
		}
		switch {
		case len(part) == 0 || len(part) == 1 && part[0] == '.':
		case len(part) == 2 && part[0] == '.' && part[1] == '.':
			i := bytes.LastIndexByte(dst, '/')
			switch {
			case i > 0:
				dst = dst[:i]
			case abs:
				dst = dst[:1]
			default:
				dst = dst[:0]
			}
		default:
			if n := len(dst); n > 0 && dst[n-1] != '/' {
				dst = append(dst, '/')
			}
			dst = append(dst, part...)
		}
	}
	return dst
}
