// Package web serves what Isoline knows of itself over HTTP: health,
// readiness, metrics and its current report. It only reads; nothing that
// arrives here changes anything.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Model is what is shown. Its methods are called from many goroutines.
type Model interface {
	// Ready is nil once the first complete build is served, and otherwise says
	// what is being waited for.
	Ready() error
	// Report is the current state, as a value for encoding/json.
	Report(context.Context) (any, error)
}

// Handler serves /healthz, /readyz, /metrics and /api/v1/report.
func Handler(m Model, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := m.Ready(); err != nil {
			respond(w, http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n")
			return
		}
		respond(w, http.StatusOK, "ok\n")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /api/v1/report", func(w http.ResponseWriter, r *http.Request) {
		report, err := m.Report(r.Context())
		if err != nil {
			respond(w, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
		body, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			respond(w, http.StatusInternalServerError, "the report cannot be encoded\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		respond(w, http.StatusOK, string(body)+"\n")
	})
	return mux
}

func respond(w http.ResponseWriter, status int, body string) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client has gone: nobody is left to tell
}

// Serve answers requests on l until ctx ends, then finishes those in flight
// for at most five seconds. It always closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := s.Shutdown(end)
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
