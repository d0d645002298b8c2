package dag

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"isoline.dev/isoline/manifest"
)

// portRef names a Service's port by number, or by name where there is one.
type portRef struct {
	number int32
	name   string
}

func (p portRef) String() string {
	if p.name != "" {
		return p.name
	}
	return strconv.Itoa(int(p.number))
}

// findService is the port that a reference means. The error is what Contour
// says after "unresolved service reference".
func findService(r *reader, namespace, name string, port portRef) (corev1.ServicePort, error) {
	e := r.object(manifest.Key{Kind: manifest.Service, Namespace: namespace, Name: name})
	switch {
	case e == nil || e.service == nil:
		return corev1.ServicePort{}, fmt.Errorf("service %q not found", namespace+"/"+name)
	case e.service.Spec.Type == corev1.ServiceTypeExternalName:
		if err := checkExternal(e.service, namespace+"/"+name, r.graph.opts.Settings.ExternalNames); err != nil {
			return corev1.ServicePort{}, err
		}
	}
	return findPort(e.service, namespace+"/"+name, port)
}

func findPort(s *corev1.Service, name string, ref portRef) (corev1.ServicePort, error) {
	other := corev1.Protocol("")
	for _, p := range s.Spec.Ports {
		if ref.name != "" && p.Name != ref.name || ref.name == "" && p.Port != ref.number {
			continue
		}
		if tcp(p) {
			return p, nil
		}
		other = p.Protocol
	}
	if other != "" {
		return corev1.ServicePort{}, fmt.Errorf("unsupported service protocol %q", other)
	}
	return corev1.ServicePort{}, fmt.Errorf("port %q on service %q not matched", ref.String(), name)
}

func tcp(p corev1.ServicePort) bool { return p.Protocol == "" || p.Protocol == corev1.ProtocolTCP }

// upstreamProtocol begins the annotations of Services that list the ports with
// a protocol.
const upstreamProtocol = "projectcontour.io/upstream-protocol."

// portProtocol is how the port wants to be talked to: its appProtocol, else
// the Service's annotations, else "" for HTTP/1.1.
func portProtocol(s *corev1.Service, port corev1.ServicePort) string {
	if port.AppProtocol != nil {
		switch *port.AppProtocol {
		case "kubernetes.io/h2c":
			return "h2c"
		case "https":
			return "tls"
		case "http", "kubernetes.io/ws":
			return ""
		}
	}
	for _, protocol := range []string{"tls", "h2", "h2c"} {
		list := strings.Split(s.Annotations[upstreamProtocol+protocol], ",")
		if slices.ContainsFunc(list, func(item string) bool {
			item = strings.TrimSpace(item)
			return item != "" && (item == port.Name || item == strconv.Itoa(int(port.Port)))
		}) {
			return protocol
		}
	}
	return ""
}
