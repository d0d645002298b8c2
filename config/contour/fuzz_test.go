package contour

import (
	"strings"
	"testing"

	"isoline.dev/isoline/config"
)

// FuzzParse: whatever the file holds, it is read or refused, and what is read
// is a configuration that Isoline takes.
func FuzzParse(f *testing.F) {
	for _, key := range strings.Split(everything, "\n\n") {
		f.Add([]byte(key))
	}
	f.Add([]byte("incluster: true\nnetwork: {admin-port: 9001}\ntls:\n  fallback-certificate:\n"))
	f.Add([]byte("timeouts: {request-timeout: 0s, connect-timeout: -1s}"))
	f.Add([]byte("kind: ConfigMap"))
	f.Add([]byte("gateway: &a {gatewayRef: *a}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, problems, err := parse("f", body)
		if err != nil {
			return
		}
		for _, p := range problems {
			if p.Origin.Line < 1 || p.Field == "" {
				t.Fatalf("a problem without a place: %v", p)
			}
		}
		if errs := config.Complete(c).Check(); len(errs) > 0 && c.Listeners.Socket.TrafficClass == 0 {
			t.Fatalf("what was taken is wrong: %v", errs)
		}
	})
}
