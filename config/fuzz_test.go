package config

import "testing"

// FuzzParse: whatever the file holds, it is read or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("apiVersion: isoline.dev/v1alpha1\nkind: Config\nlisteners: {timeouts: {request: infinity}, limits: {buffer: 1Mi}}\n"))
	f.Add([]byte("routing: {rateLimit: {extensionService: a/b, defaultGlobalRateLimitPolicy: {descriptors: [{entries: [{remoteAddress: {}}]}]}}}"))
	f.Add([]byte("listeners: {accessLog: {format: json, fields: [\"a=%REQ(B?C):1%\"]}}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parse(Config{}, "f", body)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v", c, err)
		}
		if c != nil && len(c.Check()) > 0 {
			t.Fatalf("what was taken is wrong: %v", c.Check())
		}
	})
}
