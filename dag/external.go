package dag

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// checkExternal says why an ExternalName Service cannot be routed to, if it
// cannot. Whoever may write a Service chooses the name, so a name that leads
// back into Envoy's own machine would open what listens there (Envoy's admin
// interface is one) to everybody: GHSA-5ph6-qq5x-7jwc. A name that only DNS
// leads there cannot be told here, which is why ExternalName is off by default.
func checkExternal(s *corev1.Service, name string, enabled bool) error {
	switch host := canonicalName(s.Spec.ExternalName); {
	case !enabled:
		return fmt.Errorf("%s is an ExternalName service, these are not currently enabled", name)
	case pointsHome(host):
		return fmt.Errorf("%s is an ExternalName service that points to localhost, this is not allowed", name)
	case linkLocal(host):
		return fmt.Errorf("%s is an ExternalName service that points to a link-local address, this is not allowed", name)
	case !isIP(host) && !validExternalName(host):
		return fmt.Errorf("%s is an ExternalName service whose externalName %q is neither a DNS name nor an IP address", name, s.Spec.ExternalName)
	}
	return nil
}

// externalName is where an ExternalName Service leads; empty for others.
func externalName(s *corev1.Service) string {
	if s.Spec.Type != corev1.ServiceTypeExternalName {
		return ""
	}
	return canonicalName(s.Spec.ExternalName)
}

func canonicalName(host string) string { return strings.TrimSuffix(asciiLower(host), ".") }

// homeNames lead to the own machine by convention.
var homeNames = []string{"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "local.projectcontour.io"}

// pointsHome reports whether a host means the machine that looks it up.
func pointsHome(host string) bool {
	if slices.Contains(homeNames, host) || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	ip = ip.Unmap()
	return err == nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// linkLocal reports whether a host is an address where clouds keep the
// credentials of the machine.
func linkLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLinkLocalUnicast()
}

func isIP(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == ""
}

// numericLabel is a label that makes resolvers read the whole name as an IPv4
// address, in forms such as 127.1, 0x7f.1 or 2130706433.
var numericLabel = regexp.MustCompile(`^([0-9]+|0x[0-9a-f]*)$`)

// validExternalName reports whether host is a DNS name, and no address in
// disguise.
func validExternalName(host string) bool {
	return validHost(host) && !strings.HasPrefix(host, "*") && !numericLabel.MatchString(host[strings.LastIndexByte(host, '.')+1:])
}
