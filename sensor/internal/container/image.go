package container

import "strings"

// SetImage sets what a reference to an image says: example.com:5000/web:1.2@sha256:… is of the repository
// example.com:5000/web, has the tag 1.2 and that digest. What the reference doesn't say is left as it is.
func (in *Info) SetImage(ref string) {
	in.Image = ref
	name, digest, ok := strings.Cut(ref, "@")
	if ok && strings.Contains(digest, ":") {
		in.Digest = digest
	}
	if isDigest(name) { // an image without a name
		in.ImageID = strings.TrimPrefix(name, "sha256:")
		return
	}
	slash := strings.LastIndexByte(name, '/')
	if i := strings.LastIndexByte(name, ':'); i > slash { // else the colon stands before a registry's port
		name, in.Tag = name[:i], name[i+1:]
	}
	in.Repository = name
}

// isDigest reports whether s names an image by what is in it.
func isDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && isHex([]byte(hex))
}

// TrimDigest returns the digits of an image's id, "sha256:…" or bare.
func TrimDigest(id string) string { return strings.TrimPrefix(id, "sha256:") }
