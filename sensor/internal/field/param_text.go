package field

import (
	"bytes"
	"math"
	"net/netip"
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The families of sockaddr and socktuple parameters, as on Linux.
const (
	afUnix  = 1
	afInet  = 2
	afInet6 = 10
)

// cstring returns b up to its first NUL.
func cstring(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// appendPrintable appends b with a dot for every byte that isn't a printable ASCII character.
func appendPrintable(dst, b []byte) []byte {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			c = '.'
		}
		dst = append(dst, c)
	}
	return dst
}

// appendJoined appends the NUL-ended strings in b with sep between.
func appendJoined(dst, b []byte, sep byte) []byte {
	for n := 0; len(b) > 0; n++ {
		s := cstring(b)
		if n > 0 {
			dst = append(dst, sep)
		}
		dst = append(dst, s...)
		b = b[min(len(s)+1, len(b)):]
	}
	return dst
}

// appendNumber appends n, an integer of size bytes, in the form of a parameter: hex is upper case without a prefix, octal
// has a leading 0.
func appendNumber(dst []byte, n uint64, size int, signed bool, f event.Format) []byte {
	bits := n
	if size < 8 {
		bits &= 1<<(8*size) - 1
	}
	switch f {
	case event.FormatHex:
		start := len(dst)
		dst = strconv.AppendUint(dst, bits, 16)
		for i, c := range dst[start:] {
			if c >= 'a' {
				dst[start+i] = c - 'a' + 'A'
			}
		}
		return dst
	case event.FormatOct:
		if bits != 0 {
			dst = append(dst, '0')
		}
		return strconv.AppendUint(dst, bits, 8)
	case event.FormatPad10:
		return appendPadded(dst, bits, 9)
	}
	if signed {
		return strconv.AppendInt(dst, int64(n), 10)
	}
	return strconv.AppendUint(dst, n, 10)
}

// appendPadded appends n with leading zeros to at least width digits.
func appendPadded(dst []byte, n uint64, width int) []byte {
	var t [20]byte
	s := strconv.AppendUint(t[:0], n, 10)
	for i := len(s); i < width; i++ {
		dst = append(dst, '0')
	}
	return append(dst, s...)
}

func appendDouble(dst, b []byte) []byte {
	return strconv.AppendFloat(dst, math.Float64frombits(le.Uint64(b)), 'g', -1, 64)
}

// appendIP appends an address of 4 or 16 bytes.
func appendIP(dst, b []byte) []byte {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return append(dst, "<NA>"...)
	}
	return a.AppendTo(dst)
}

// appendIPNet appends an address and, when b has one, the mask that follows it, as a prefix.
func appendIPNet(dst, b []byte) []byte {
	if len(b) != 8 && len(b) != 32 {
		return appendIP(dst, b)
	}
	n := 0
	for _, m := range b[len(b)/2:] {
		for ; m&0x80 != 0; m <<= 1 {
			n++
		}
	}
	dst = append(appendIP(dst, b[:len(b)/2]), '/')
	return strconv.AppendInt(dst, int64(n), 10)
}

func appendEnd(dst, ip []byte, port uint16) []byte {
	return strconv.AppendUint(append(appendIP(dst, ip), ':'), uint64(port), 10)
}

func appendFamily(dst []byte, family byte) []byte {
	return strconv.AppendUint(append(dst, "family "...), uint64(family), 10)
}

// appendSockaddr appends a ParamSockaddr: a path, or address:port.
func appendSockaddr(dst, b []byte) []byte {
	body := b[1:]
	switch b[0] {
	case afUnix:
		return append(dst, cstring(body)...)
	case afInet:
		if len(body) >= 6 {
			return appendEnd(dst, body[:4], le.Uint16(body[4:]))
		}
		return append(dst, "INVALID IPv4"...)
	case afInet6:
		if len(body) >= 18 {
			return appendEnd(dst, body[:16], le.Uint16(body[16:]))
		}
		return append(dst, "INVALID IPv6"...)
	}
	return appendFamily(dst, b[0])
}

// appendSocktuple appends a ParamSocktuple: source->destination. IPv6 ends that both hold IPv4 are shown as IPv4.
func appendSocktuple(dst, b []byte) []byte {
	body := b[1:]
	switch b[0] {
	case afUnix:
		if len(body) < 16 {
			return append(dst, "INVALID PATH"...)
		}
		dst = strconv.AppendUint(dst, le.Uint64(body), 16)
		dst = strconv.AppendUint(append(dst, "->"...), le.Uint64(body[8:]), 16)
		return append(append(dst, ' '), cstring(body[16:])...)
	case afInet:
		if len(body) < 12 {
			return append(dst, "INVALID IPv4"...)
		}
		dst = append(appendEnd(dst, body[:4], le.Uint16(body[4:])), "->"...)
		return appendEnd(dst, body[6:10], le.Uint16(body[10:]))
	case afInet6:
		if len(body) < 36 {
			return append(dst, "INVALID IPv6"...)
		}
		src, dest := body[:16], body[18:34]
		if mapsIPv4(src) && mapsIPv4(dest) {
			src, dest = src[12:], dest[12:]
		}
		dst = append(appendEnd(dst, src, le.Uint16(body[16:])), "->"...)
		return appendEnd(dst, dest, le.Uint16(body[34:]))
	}
	return appendFamily(dst, b[0])
}

var zeros [16]byte

// mapsIPv4 reports whether ip, of 16 bytes, stands for an IPv4 address; the unspecified address does too.
func mapsIPv4(ip []byte) bool {
	return bytes.Equal(ip[:10], zeros[:10]) && (ip[10] == 0xff && ip[11] == 0xff || bytes.Equal(ip[10:], zeros[10:]))
}
