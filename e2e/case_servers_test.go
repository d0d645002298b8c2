package e2e

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
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
	stop func()
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
		if _, twice := w.servers[instance]; twice {
			return fmt.Errorf("there is a %s already", instance)
		}
		ctx, stop := context.WithCancel(w.t.Context())
		s, err := w.start(ctx, kind, instance, o)
		if err != nil {
			stop()
			return err
		}
		w.t.Cleanup(stop)
		w.servers[instance] = caseServer{declared: words[0], namespace: namespace, service: name, port: port,
			appProtocol: o["appProtocol"], labServer: s, stop: stop}
		w.order = append(w.order, instance)
	}
	return nil
}

// start starts one server of a kind, until ctx ends.
func (w *caseWorld) start(ctx context.Context, kind, name string, o serverOptions) (labServer, error) {
	var config *tls.Config
	if certificate := o["certificate"]; certificate != "" {
		var err error
		if config, err = w.serverTLS(certificate, o["clients"]); err != nil {
			return nil, err
		}
		config.MaxVersion = tlsVersions[o["tls"]]
	}
	switch kind {
	case "https", "tls":
		if config == nil {
			return nil, errors.New("it needs certificate=NAMESPACE/NAME")
		}
	}
	switch kind {
	case "http":
		u, err := lab.StartUpstream(ctx, name)
		return until(w.t, u, u.Done, o.set(u, err))
	case "https":
		u, err := lab.StartTLSUpstream(ctx, name, config)
		return until(w.t, u, u.Done, o.set(u, err))
	case "tcp", "tls":
		s, err := lab.StartTCP(ctx, name, config)
		return until(w.t, s, s.Done, err)
	case "grpc":
		s, err := lab.StartGRPC(ctx, name, config)
		return until(w.t, s, s.Done, err)
	case "extauthz":
		s, err := lab.StartAuthorizer(ctx, name, config)
		return until(w.t, s, s.Done, err)
	case "rls":
		s, err := lab.StartLimiter(ctx, name, config)
		return until(w.t, s, s.Done, err)
	case "jwks":
		s, err := lab.StartIssuer(ctx, name, config)
		return until(w.t, s, s.Done, err)
	}
	return nil, fmt.Errorf("there is no kind %s of upstreams", kind)
}

// until makes the test wait for the end of a server.
func until(t *testing.T, s labServer, done func() <-chan struct{}, err error) (labServer, error) {
	if err == nil {
		t.Cleanup(func() { <-done() })
	}
	return s, err
}

// set makes an upstream answer as the options say, if it has started.
func (o serverOptions) set(u *lab.Upstream, err error) error {
	if err != nil {
		return err
	}
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
	words = words[1:]
	if len(words) == 1 && words[0] == "stop" {
		s.stop()
		return nil
	}
	switch server := s.labServer.(type) {
	case *lab.Upstream:
		return letUpstream(server, words)
	case *lab.Authorizer:
		server.Set(strings.Join(words, " "))
		return nil
	case *lab.Limiter:
		if words[0] == "limit" && len(words) == 2 {
			n, err := strconv.ParseUint(words[1], 10, 32)
			server.SetLimit(uint32(n))
			return err
		}
		server.Set(words[0])
		return nil
	case *lab.Issuer:
		if words[0] == "rotate" {
			return server.Rotate()
		}
		server.Set(words[0])
		return nil
	}
	return fmt.Errorf("it can only stop")
}

func letUpstream(u *lab.Upstream, words []string) error {
	number := func(i int) (int, error) { return strconv.Atoi(words[i]) }
	switch said := strings.Join(words, " "); {
	case said == "be sick":
		u.SetSick(true)
	case said == "be well":
		u.SetSick(false)
	case said == "be stuck":
		u.HangHealth()
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

// expand puts in what is known only when a case runs: ${NAME.ip},
// ${NAME.port}, and of an issuer of tokens ${NAME.token CLAIM=VALUE...} and
// ${NAME.jwks}.
func (w *caseWorld) expand(text string) string {
	w.t.Helper()
	return reference.ReplaceAllStringFunc(text, func(ref string) string {
		words := strings.Fields(ref[2 : len(ref)-1])
		i := strings.LastIndexByte(words[0], '.')
		value, err := w.value(words[0][:max(i, 0)], words[0][i+1:], words[1:])
		if err != nil {
			w.t.Fatalf("%s: %v", ref, err)
		}
		return value
	})
}

func (w *caseWorld) value(name, what string, words []string) (string, error) {
	s, ok := w.servers[name]
	issuer, issues := s.labServer.(*lab.Issuer)
	switch {
	case ok && what == "ip":
		return "127.0.0.1", nil
	case ok && what == "port":
		return strconv.Itoa(s.Port()), nil
	case issues && what == "jwks":
		keys, err := issuer.JWKS()
		return string(keys), err
	case issues && what == "token":
		claims := map[string]any{}
		for _, word := range words {
			name, value, _ := strings.Cut(word, "=")
			if claims[name] = value; name == "exp" || name == "nbf" { // from now
				d, err := time.ParseDuration(value)
				if err != nil {
					return "", err
				}
				claims[name] = time.Now().Add(d).Unix()
			}
		}
		return issuer.Token(claims)
	}
	return "", fmt.Errorf("it names nothing that the case has")
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
