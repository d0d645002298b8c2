package e2e

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"isoline.dev/isoline/lab"
)

// caseServer is a server that a case declares under "upstreams".
type caseServer struct {
	// declared is its name in the case, but for the number of a replica.
	declared, namespace string
	// service is the name of the Service that leads to it, port that Service's
	// port; several servers may share a Service.
	service string
	port    int
	// appProtocol is that of the Service's port; empty for none.
	appProtocol string
	labServer
}

// labServer is a server of the lab, whatever its kind.
type labServer interface {
	Port() int
	Records() []lab.Record
}

// serverOptions are the words after a server's kind.
type serverOptions map[string]string

// startServers starts what is declared, line by line:
//
//	[NAMESPACE/]NAME [KIND] [OPTION=VALUE...]
//
// testdata/cases/README.md lists the kinds and options.
func (w *caseWorld) startServers(lines []string) {
	w.t.Helper()
	for _, line := range lines {
		if err := w.startServer(strings.Fields(line)); err != nil {
			w.t.Fatalf("upstreams: %s: %v", line, err)
		}
	}
}

func (w *caseWorld) startServer(words []string) error {
	namespace, name, ok := strings.Cut(words[0], "/")
	if !ok {
		namespace, name = "default", words[0]
	}
	kind, o := "http", serverOptions{}
	for i, word := range words[1:] {
		switch key, value, is := strings.Cut(word, "="); {
		case is:
			o[key] = value
		case i == 0:
			kind = word
		default:
			return fmt.Errorf("%s is not OPTION=VALUE", word)
		}
	}
	port, err := strconv.Atoi(cmp.Or(o["port"], "80"))
	if err != nil {
		return err
	}
	replicas, err := strconv.Atoi(cmp.Or(o["replicas"], "1"))
	if err != nil {
		return err
	}
	for i := range replicas {
		instance := words[0]
		if replicas > 1 {
			instance = fmt.Sprintf("%s-%d", words[0], i)
		}
		s, err := w.start(kind, instance, o)
		if err != nil {
			return err
		}
		if _, twice := w.servers[instance]; twice {
			return fmt.Errorf("there is a %s already", instance)
		}
		w.servers[instance] = caseServer{declared: words[0], namespace: namespace, service: name, port: port, appProtocol: o["appProtocol"], labServer: s}
		w.order = append(w.order, instance)
	}
	return nil
}

// start starts one server of a kind.
func (w *caseWorld) start(kind, name string, o serverOptions) (labServer, error) {
	ctx := w.t.Context()
	switch kind {
	case "http", "https":
		u, err := (*lab.Upstream)(nil), error(nil)
		if kind == "http" {
			u, err = lab.StartUpstream(ctx, name)
		} else if config, bad := w.serverTLS(o["certificate"], o["clients"]); bad != nil {
			err = bad
		} else {
			u, err = lab.StartTLSUpstream(ctx, name, config)
		}
		if err != nil {
			return nil, err
		}
		w.t.Cleanup(func() { <-u.Done() })
		return u, o.set(u)
	case "tcp", "tls":
		var s *lab.TCP
		var err error
		if kind == "tcp" {
			s, err = lab.StartTCP(ctx, name, nil)
		} else if config, bad := w.serverTLS(o["certificate"], o["clients"]); bad != nil {
			err = bad
		} else {
			s, err = lab.StartTCP(ctx, name, config)
		}
		if err != nil {
			return nil, err
		}
		w.t.Cleanup(s.Wait)
		return s, nil
	}
	return nil, fmt.Errorf("there is no kind %s of upstreams", kind)
}

// set makes an upstream answer as the options say.
func (o serverOptions) set(u *lab.Upstream) error {
	if d, err := time.ParseDuration(cmp.Or(o["delay"], "0s")); err != nil {
		return err
	} else if d > 0 {
		u.SetDelay(d)
	}
	if status, err := strconv.Atoi(cmp.Or(o["status"], "200")); err != nil {
		return err
	} else if status != 200 {
		u.SetStatus(status)
	}
	return nil
}

// let changes how a server behaves: "let NAME VERB...".
func (w *caseWorld) let(words []string) error {
	if len(words) < 2 {
		return fmt.Errorf("want let NAME and what it does")
	}
	s, ok := w.servers[words[0]]
	if !ok {
		return fmt.Errorf("there is no upstream %s", words[0])
	}
	if u, ok := s.labServer.(*lab.Upstream); ok {
		return letUpstream(u, words[1:])
	}
	return fmt.Errorf("%s cannot be told anything", words[0])
}

func letUpstream(u *lab.Upstream, words []string) error {
	number := func(i int) (int, error) { return strconv.Atoi(words[i]) }
	switch said := strings.Join(words, " "); {
	case said == "be sick":
		u.SetSick(true)
	case said == "be well":
		u.SetSick(false)
	case len(words) == 2 && words[0] == "answer":
		status, err := number(1)
		u.SetStatus(status)
		return err
	case len(words) == 2 && words[0] == "wait":
		d, err := time.ParseDuration(words[1])
		u.SetDelay(d)
		return err
	case len(words) == 2 && words[0] == "reset":
		n, err := number(1)
		u.FailNext(n, 0)
		return err
	case len(words) == 4 && words[0] == "fail" && words[2] == "with":
		n, err := number(1)
		if err != nil {
			return err
		}
		status, err := number(3)
		u.FailNext(n, status)
		return err
	default:
		return fmt.Errorf("an upstream cannot %q", said)
	}
	return nil
}

var reference = regexp.MustCompile(`\$\{([^}]*)\}`)

// expand puts in what is known only when a case runs: ${NAME.ip}, ${NAME.port}.
func (w *caseWorld) expand(text string) string {
	w.t.Helper()
	return reference.ReplaceAllStringFunc(text, func(ref string) string {
		name, what, _ := strings.Cut(ref[2:len(ref)-1], ".")
		s, ok := w.servers[name]
		switch {
		case ok && what == "ip":
			return "127.0.0.1"
		case ok && what == "port":
			return strconv.Itoa(s.Port())
		}
		w.t.Fatalf("%s names nothing that the case has", ref)
		return ""
	})
}

// generated are the Services, EndpointSlices and Secrets that a case declares
// and does not write itself.
func (w *caseWorld) generated(manifests map[string]string) string {
	defined, ports := w.definedBy(manifests)
	var b strings.Builder
	var services []string
	for _, name := range w.order {
		s := w.servers[name]
		id := s.namespace + "/" + s.service
		if !slices.Contains(services, id) {
			services = append(services, id)
			w.generateService(&b, s, id, defined, ports)
		}
	}
	return b.String() + w.secretManifests(defined)
}

func (w *caseWorld) generateService(b *strings.Builder, s caseServer, id string, defined map[string]bool, ports map[string][]string) {
	if !defined["Service "+id] {
		app := ""
		if s.appProtocol != "" {
			app = ", appProtocol: " + s.appProtocol
		}
		fmt.Fprintf(b, "---\napiVersion: v1\nkind: Service\nmetadata: {name: %q, namespace: %q}\nspec: {ports: [{name: main, port: %d%s}]}\n", s.service, s.namespace, s.port, app)
		ports[id] = []string{"main"}
	}
	if defined["EndpointSlice "+id] {
		return
	}
	for _, name := range w.order { // a slice for each server: their ports differ
		server := w.servers[name]
		if server.namespace+"/"+server.service != id {
			continue
		}
		fmt.Fprintf(b, "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: %q, namespace: %q, labels: {kubernetes.io/service-name: %q}}\naddressType: IPv4\nendpoints: [{addresses: [127.0.0.1]}]\nports:\n",
			strings.ReplaceAll(name, "/", "-"), s.namespace, s.service)
		for _, port := range ports[id] {
			fmt.Fprintf(b, "- {name: %q, port: %d}\n", port, server.Port())
		}
	}
}

// definedBy says which Services, EndpointSlices (by their Service) and Secrets
// the manifests have, and the names of the Services' ports.
func (w *caseWorld) definedBy(manifests map[string]string) (defined map[string]bool, ports map[string][]string) {
	w.t.Helper()
	defined, ports = map[string]bool{}, map[string][]string{}
	for file, content := range manifests {
		for _, document := range strings.Split("\n"+content, "\n---") {
			var o struct {
				Kind     string `json:"kind"`
				Metadata struct {
					Name      string            `json:"name"`
					Namespace string            `json:"namespace"`
					Labels    map[string]string `json:"labels"`
				} `json:"metadata"`
				Spec struct {
					Ports []struct {
						Name string `json:"name"`
					} `json:"ports"`
				} `json:"spec"`
			}
			switch err := yaml.Unmarshal([]byte(w.expand(document)), &o); {
			case err != nil && strings.Contains(document, "kind: Service"):
				w.t.Fatalf("%s: %v", file, err)
			case err != nil:
				continue // it is Isoline's to say what is wrong
			}
			id := cmp.Or(o.Metadata.Namespace, "default") + "/" + o.Metadata.Name
			switch o.Kind {
			case "Service":
				for _, p := range o.Spec.Ports {
					ports[id] = append(ports[id], p.Name)
				}
			case "EndpointSlice":
				id = cmp.Or(o.Metadata.Namespace, "default") + "/" + o.Metadata.Labels["kubernetes.io/service-name"]
			case "Secret":
			default:
				continue
			}
			defined[o.Kind+" "+id] = true
		}
	}
	return defined, ports
}
