package isoline_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"isoline.dev/isoline/config"
)

// provenByTests are the settings of the platform that no case proves, because
// a case cannot see what they do, and the tests that prove them through Envoy.
var provenByTests = map[string]string{
	"listeners.connectionBalancer":             "xds TestEnvoyTakesEveryEdge",
	"listeners.limits.acceptsPerEvent":         "xds TestEnvoyTakesEveryEdge",
	"listeners.limits.buffer":                  "xds TestEnvoyTakesEveryEdge",
	"listeners.limits.connections":             "xds TestConnectionsAreBounded",
	"listeners.limits.http2ConnectionWindow":   "xds TestEnvoyTakesEveryEdge",
	"listeners.limits.http2StreamWindow":       "xds TestHTTP2IsBounded",
	"listeners.limits.http2Streams":            "xds TestHTTP2IsBounded",
	"listeners.limits.requestsPerIOCycle":      "xds TestEnvoyTakesTheBootstrap",
	"listeners.socket":                         "xds TestEnvoyTakesEveryEdge",
	"listeners.timeouts.connectionIdle":        "xds TestATimeLimitOfTheEdgeEndsWhatItBounds",
	"listeners.timeouts.delayedClose":          "xds TestEnvoyTakesEveryEdge",
	"listeners.timeouts.maxConnectionDuration": "xds TestATimeLimitOfTheEdgeEndsWhatItBounds",
	"listeners.timeouts.request":               "xds TestATimeLimitOfTheEdgeEndsWhatItBounds",
	"listeners.timeouts.requestHeaders":        "xds TestATimeLimitOfTheEdgeEndsWhatItBounds",
	"listeners.timeouts.shutdownGrace":         "xds TestATimeLimitOfTheEdgeEndsWhatItBounds",
	"listeners.accessLog.path":                 "xds TestEnvoyTakesEveryEdge",
	"upstreams.buffer":                         "xds TestAConnectionToAnUpstreamIsUsedForSoManyRequests",
	"upstreams.connectTimeout":                 "xds TestAnEndpointThatDoesNotAnswerIsGivenUp",
	"envoy.maxConnections":                     "xds TestConnectionsAreBounded",
	"envoy.maxHeap":                            "xds TestEnvoyKeepsBelowItsHeap",
}

// settingKeys are the paths of the keys of a part of the configuration; a
// service or a list of headers counts as a whole.
func settingKeys(t reflect.Type, path string) (paths []string) {
	_, read := reflect.PointerTo(t).MethodByName("UnmarshalYAML")
	if t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
		return []string{path}
	}
	if t.Kind() != reflect.Struct || read {
		return []string{path}
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		paths = append(paths, settingKeys(field.Type, path+"."+name)...)
	}
	return paths
}

func TestEverySettingIsProvenThroughEnvoy(t *testing.T) {
	var proven []string
	err := filepath.WalkDir(casesDir, func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".txtar") {
			return err
		}
		body, err := os.ReadFile(file)
		for _, m := range regexp.MustCompile(`(?m)^proves: config (\S+)$`).FindAllStringSubmatch(string(body), -1) {
			proven = append(proven, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, test := range provenByTests {
		dir, name, _ := strings.Cut(test, " ")
		if !hasTest(t, dir, name) {
			t.Errorf("%s is proven by %s, which there is not", path, test)
		}
		proven = append(proven, path)
	}
	var c config.Config
	var all []string
	for path, part := range map[string]any{"cluster": c.Cluster, "listeners": c.Listeners, "routing": c.Routing, "upstreams": c.Upstreams, "envoy": c.Envoy} {
		all = append(all, settingKeys(reflect.TypeOf(part), path)...)
	}
	everyCase := []string{"cluster.mode", "listeners.http", "listeners.https"}
	for _, path := range all {
		inside := func(p string) bool {
			return path == p || strings.HasPrefix(path, p+".") || strings.HasPrefix(p, path+".")
		}
		if !slices.ContainsFunc(proven, inside) && !slices.ContainsFunc(everyCase, inside) {
			t.Errorf("config %s: write a case below %s that proves it", path, casesDir)
		}
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		body, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(body), "func "+name+"(")
	})
}
