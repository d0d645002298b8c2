package demo

import (
	"fmt"
	"strings"
)

// service is a Service with one EndpointSlice that points at an upstream on
// loopback. In a cluster both would come from Kubernetes; without one they
// are files like the others.
func service(namespace, name string, port int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  ports: [{name: http, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: %[2]s-1
  namespace: %[1]s
  labels: {kubernetes.io/service-name: %[2]s}
addressType: IPv4
ports: [{name: http, port: %[3]d}]
endpoints: [{addresses: [127.0.0.1]}]
`, namespace, name, port)
}

// The routes as the play changes them, one function for each file.

func wwwRoot(blogIncluded bool) string {
	include := ""
	if blogIncluded {
		include = `  includes:
  - name: blog
    namespace: team-a
    conditions: [{prefix: /blog}]
`
	}
	return `apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: www, namespace: platform}
spec:
  virtualhost: {fqdn: www.example.com}
` + include + `  routes:
  - conditions: [{prefix: /}]
    services: [{name: web, port: 80}]
`
}

const blogChild = `# team-a's part of www.example.com: whatever the platform includes it for.
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: blog, namespace: team-a}
spec:
  routes:
  - services: [{name: blog, port: 80}]
`

const blogChildWithBeta = blogChild + `  - conditions: [{header: {name: x-beta, exact: "yes"}}]
    services: [{name: blog-next, port: 80}]
`

func blogCanary(stable, canary int) string {
	return fmt.Sprintf(`# team-a's part of www.example.com: whatever the platform includes it for.
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: blog, namespace: team-a}
spec:
  routes:
  - services:
    - {name: blog, port: 80, weight: %d}
    - {name: blog-next, port: 80, weight: %d}
  - conditions: [{header: {name: x-beta, exact: "yes"}}]
    services: [{name: blog-next, port: 80}]
`, stable, canary)
}

func shop(side string) string {
	return fmt.Sprintf(`apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: shop, namespace: team-b}
spec:
  virtualhost: {fqdn: shop.example.com}
  routes:
  - services: [{name: shop-%s, port: 80}]
`, side)
}

func blogIngress(namespace, service string) string {
	return fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: blog, namespace: %s}
spec:
  rules:
  - host: projectcontour.io
    http:
      paths:
      - path: /blog
        pathType: Prefix
        backend: {service: {name: %s, port: {number: 80}}}
`, namespace, service)
}

// broken is what a merge gone wrong looks like.
const broken = `apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: shop, namespace: team-b}
spec:
  virtualhost: {fqdn: shop.example.com}
  routes:
<<<<<<< HEAD
  - services: [{name: shop-green, port: 80}]
`

// configFile is the platform's file for the three teams.
func configFile(l layout) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: isoline.dev/v1alpha1
kind: Config
stateDir: state
listeners:
  http: {address: 127.0.0.1, port: %d}
  https: {address: 127.0.0.1, port: %d}
xds: {address: 127.0.0.1, port: %d}
web: {address: 127.0.0.1, port: %d}
endpoints: {allow: [127.0.0.0/8]}
teams:
`, l.http, l.https, l.xds, l.web)
	for _, t := range []struct{ name, hosts string }{
		{"platform", "[www.example.com]"},
		{"team-a", "[projectcontour.io]"},
		{"team-b", "[shop.example.com, projectcontour.io]"},
	} {
		fmt.Fprintf(&b, `- name: %[1]s
  repo: {url: %[2]q, path: routes, interval: 200ms}
  namespaces: [%[1]s]
  hosts: %[3]s
`, t.name, l.url(t.name), t.hosts)
	}
	return b.String()
}
