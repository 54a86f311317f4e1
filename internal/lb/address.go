package lb

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is host:port, as ParseAddress returns it.
type Address string

// ParseAddress reads "10.0.0.7:3000", "[fd00::7]:3000" or "app-1:3000". Equal
// places give equal addresses: names are lower case, IP addresses in their
// shortest form.
func ParseAddress(text string) (Address, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", addressError(text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", addressError(text)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return Address(netip.AddrPortFrom(ip.Unmap(), uint16(n)).String()), nil
	}
	if !isHostName(host) {
		return "", addressError(text)
	}
	return Address(net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(n, 10))), nil
}

func addressError(text string) error {
	return fmt.Errorf("address %q: want host:port such as 10.0.0.7:3000", text)
}

// isHostName admits what resolvers admit in practice: letters, digits, hyphens,
// underscores (containers have them) and dots, up to 253 bytes (RFC 1035, 2.3.4).
func isHostName(host string) bool {
	if host == "" || len(host) > 253 || host[0] == '.' || strings.Contains(host, "..") {
		return false
	}
	for _, c := range []byte(host) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// split returns the host and port of an address that ParseAddress made.
func (a Address) split() (host, port string) {
	host, port, err := net.SplitHostPort(string(a))
	if err != nil {
		panic("lb: address not from ParseAddress: " + string(a))
	}
	return host, port
}
