package manifest

import (
	"testing"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/problem"
)

func TestADefaultIsFilledInWhereNothingIsWritten(t *testing.T) {
	object, problems := Decode([]byte(`
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: a, namespace: a, annotations: {n: "12345678901234567890"}}
spec:
  virtualhost:
    fqdn: a.example.com
    rateLimitPolicy: {global: {descriptors: [{entries: [{requestHeaderValueMatch: {value: unset}}]}]}}
  routes:
  - rateLimitPolicy:
      local: {requests: 4294967295, unit: second}
      global:
        descriptors:
        - entries: [{requestHeaderValueMatch: {value: "true", expectMatch: true}}, {requestHeaderValueMatch: {value: "false", expectMatch: false}}]
`), "", problem.Origin{}, "")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	spec := object.Value.(*contourv1.HTTPProxy).Spec
	entries := append(spec.VirtualHost.RateLimitPolicy.Global.Descriptors[0].Entries, spec.Routes[0].RateLimitPolicy.Global.Descriptors[0].Entries...)
	for _, e := range entries {
		m := e.RequestHeaderValueMatch
		if want := m.Value != "false"; m.ExpectMatch != want {
			t.Errorf("%s: expectMatch is %t", m.Value, m.ExpectMatch)
		}
	}
	if n := spec.Routes[0].RateLimitPolicy.Local.Requests; n != 4294967295 {
		t.Errorf("a number beside it became %d", n)
	}
}
