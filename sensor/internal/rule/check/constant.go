package check

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/field"
)

// scalar reads a constant that is neither text nor bytes. A hint without an error is for a warning.
func scalar(ref *field.Ref, text string) (k Const, hint string, err error) {
	switch ref.Type {
	case field.Bool:
		switch text {
		case "true":
			return Const{Int: 1}, "", nil
		case "false":
			return Const{}, "", nil
		}
		return k, "write true or false", fmt.Errorf("%s is true or false, not %q", ref.Name, text)
	case field.Int:
		n, hint, err := integer(text)
		if err == nil && !n.neg && n.abs > 1<<63-1 || n.neg && n.abs > 1<<63 {
			err = errors.New(text + " is out of the range of 64-bit numbers")
		}
		return Const{Int: n.bits()}, hint, err
	case field.Uint:
		n, hint, err := integer(text)
		if err != nil {
			return k, hint, err
		}
		return Const{Int: narrow(ref, n)}, hint, nil
	case field.RelTime, field.AbsTime:
		if d, ok := duration(text); ok && ref.Type == field.RelTime {
			return Const{Int: d}, "", nil
		}
		n, hint, err := integer(text)
		if err != nil || n.neg {
			if ref.Type == field.RelTime {
				return k, "write nanoseconds, or a number with ns, us, ms, s, m or h", fmt.Errorf("%q is no duration", text)
			}
			return k, "write nanoseconds since 1970", fmt.Errorf("%q is no time", text)
		}
		return Const{Int: n.abs}, hint, nil
	case field.Port:
		if p, ok := Service(text); ok {
			return Const{Int: p}, "", nil
		}
		n, hint, err := integer(text)
		if err != nil {
			return k, "write its number", fmt.Errorf("%q is no port", text)
		}
		if n.neg || n.abs > 0xFFFF {
			return k, "", fmt.Errorf("%s is no port: they go from 0 to 65535", text)
		}
		return Const{Int: n.abs}, hint, nil
	case field.IP:
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			if _, e := netip.ParsePrefix(text); e == nil {
				hint = "networks go with fd.net, fd.cnet, fd.snet, fd.lnet and fd.rnet"
			}
			return k, hint, fmt.Errorf("%q is no IP address", text)
		}
		return Const{Bytes: a.AsSlice()}, "", nil
	case field.IPNet:
		p, err := netip.ParsePrefix(text)
		if err != nil {
			if a, e := netip.ParseAddr(text); e == nil {
				hint = fmt.Sprintf("write %s/%d for the one address", text, a.BitLen())
			}
			return k, hint, fmt.Errorf("%q is no IP network", text)
		}
		return Const{Bytes: p.Masked().Addr().AsSlice(), Bits: p.Bits()}, "", nil
	}
	return k, "", fmt.Errorf("%s has a type that takes no constants", ref.Name)
}

// number is a 64-bit magnitude with its sign.
type number struct {
	abs uint64
	neg bool
}

func (n number) bits() uint64 {
	if n.neg {
		return -n.abs
	}
	return n.abs
}

// integer reads a whole number: decimal, or 0x, 0o, 0b and digits. A leading zero alone doesn't make it octal, as in the
// rules that exist; the hint says so.
func integer(text string) (n number, hint string, err error) {
	s := text
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		n.neg = s[0] == '-'
		s = s[1:]
	}
	base := 10
	if len(s) > 2 && s[0] == '0' {
		switch s[1] {
		case 'x', 'X':
			base, s = 16, s[2:]
		case 'o', 'O':
			base, s = 8, s[2:]
		case 'b', 'B':
			base, s = 2, s[2:]
		}
	}
	if base == 10 && len(s) > 1 && s[0] == '0' {
		hint = "write 0o" + strings.TrimLeft(s, "0") + " for the octal number"
	}
	n.abs, err = strconv.ParseUint(s, base, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return n, "", errors.New(text + " is out of the range of 64-bit numbers")
	case err != nil && strings.Trim(s, "0123456789.") == "":
		return n, "leave the fraction out", fmt.Errorf("%q is no whole number", text)
	case err != nil:
		return n, "", fmt.Errorf("%q is no number", text)
	}
	if n.abs == 0 {
		n.neg = false
	}
	return n, hint, nil
}

// narrow wraps a negative number to the width of an unsigned field, so that uid = -1 means all ones.
func narrow(ref *field.Ref, n number) uint64 {
	if n.neg && ref.Read.Base != field.Computed {
		switch ref.Read.Width {
		case field.U8:
			return uint64(uint8(n.bits()))
		case field.U16:
			return uint64(uint16(n.bits()))
		case field.U32:
			return uint64(uint32(n.bits()))
		}
	}
	return n.bits()
}

// duration reads a number with a unit, as 10s or 1.5ms, in ns.
func duration(text string) (uint64, bool) {
	if strings.TrimLeft(text, "0123456789.") == "" || strings.HasPrefix(text, "-") {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	return uint64(d), err == nil
}

// Service returns the port of a well-known service (IANA's registry), for those that rules are written about. The
// system's /etc/services is not read: a rule must mean the same on every machine.
func Service(name string) (uint64, bool) {
	switch name {
	case "ftp-data":
		return 20, true
	case "ftp":
		return 21, true
	case "ssh":
		return 22, true
	case "telnet":
		return 23, true
	case "smtp":
		return 25, true
	case "domain":
		return 53, true
	case "bootps":
		return 67, true
	case "bootpc":
		return 68, true
	case "tftp":
		return 69, true
	case "http":
		return 80, true
	case "kerberos":
		return 88, true
	case "pop3":
		return 110, true
	case "sunrpc":
		return 111, true
	case "ntp":
		return 123, true
	case "imap2":
		return 143, true
	case "snmp":
		return 161, true
	case "bgp":
		return 179, true
	case "ldap":
		return 389, true
	case "https":
		return 443, true
	case "microsoft-ds":
		return 445, true
	case "syslog":
		return 514, true
	case "ldaps":
		return 636, true
	case "imaps":
		return 993, true
	case "pop3s":
		return 995, true
	case "mqtt":
		return 1883, true
	case "nfs":
		return 2049, true
	case "mysql":
		return 3306, true
	case "postgresql":
		return 5432, true
	case "amqp":
		return 5672, true
	case "secure-mqtt":
		return 8883, true
	}
	return 0, false
}
