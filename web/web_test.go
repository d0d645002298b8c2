package web

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

type model struct{ ready, report error }

func (m *model) Ready() error { return m.ready }

func (m *model) Report(context.Context) (any, error) {
	return map[string]bool{"ok": true}, m.report
}

func TestEndpointsSayHowThingsAre(t *testing.T) {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "isoline_test", Help: "x"}))
	busy := errors.New("the first build")
	for _, tc := range []struct {
		name, path string
		model      model
		status     int
		body       string
	}{
		{"healthy while starting", "/healthz", model{ready: busy}, 200, "ok"},
		{"not ready before the first build", "/readyz", model{ready: busy}, 503, "not ready: the first build"},
		{"ready after it", "/readyz", model{}, 200, "ok"},
		{"metrics", "/metrics", model{}, 200, "isoline_test 0"},
		{"the report", "/api/v1/report", model{}, 200, `"ok": true`},
		{"no report", "/api/v1/report", model{report: busy}, 503, "the first build"},
		{"anything else", "/etc/passwd", model{}, 404, "not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Handler(&tc.model, metrics).ServeHTTP(w, httptest.NewRequest(http.MethodGet, tc.path, nil))
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) {
				t.Errorf("got %d %q, want %d with %q", w.Code, w.Body, tc.status, tc.body)
			}
		})
	}
}

func TestNothingButReadingIsAllowed(t *testing.T) {
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/v1/report"} {
		w := httptest.NewRecorder()
		Handler(&model{}, prometheus.NewRegistry()).ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, w.Code)
		}
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	defer goleak.VerifyNone(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, Handler(&model{}, prometheus.NewRegistry())) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
