package pipeline

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/problem"
)

// metrics are what an operator watches. The names are documented in
// docs/metrics.md.
type metrics struct {
	stages       *prometheus.HistogramVec
	pushToServed prometheus.Histogram
	lastFetch    *prometheus.GaugeVec
	fetches      *prometheus.CounterVec
	problems     *prometheus.GaugeVec
	hosts        *prometheus.GaugeVec
	streams      prometheus.Gauge
	sent         *prometheus.CounterVec
	sentBytes    *prometheus.CounterVec
	acks, nacks  *prometheus.CounterVec
}

// newMetrics registers the metrics with r; a nil r keeps them to ourselves.
func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "isoline_stage_duration_seconds",
			Help: "How long one pass of a stage took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 13)}, []string{"stage"}),
		pushToServed: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "isoline_push_to_served_seconds",
			Help:    "From the look that found a new revision until every connected Envoy acknowledged what it changed.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)}),
		lastFetch: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "isoline_source_last_fetch_timestamp_seconds",
			Help: "When a team's repository last answered."}, []string{"team"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isoline_source_fetches_total",
			Help: "Looks at a team's repository by result: ok or error."}, []string{"team", "result"}),
		problems: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "isoline_problems",
			Help: "Current problems by severity."}, []string{"severity"}),
		hosts: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "isoline_hosts",
			Help: "Hosts by state: serving, lastGood or rejected."}, []string{"state"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "isoline_xds_streams",
			Help: "Connected Envoys."}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isoline_xds_sent_resources_total",
			Help: "Resources sent to Envoys by type."}, []string{"type"}),
		sentBytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isoline_xds_sent_bytes_total",
			Help: "Bytes of resources sent to Envoys by type."}, []string{"type"}),
		acks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isoline_xds_acks_total",
			Help: "Responses that Envoys acknowledged, by type."}, []string{"type"}),
		nacks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isoline_xds_nacks_total",
			Help: "Responses that Envoys refused, by type."}, []string{"type"}),
	}
	if r != nil {
		r.MustRegister(m.stages, m.pushToServed, m.lastFetch, m.fetches, m.problems, m.hosts,
			m.streams, m.sent, m.sentBytes, m.acks, m.nacks)
	}
	return m
}

// stage starts the clock of one pass of a stage; done stops it.
func (m *metrics) stage(name string) (done func()) {
	start := time.Now()
	return func() { m.stages.WithLabelValues(name).Observe(time.Since(start).Seconds()) }
}

func (m *metrics) fetched(team string, s sighting) {
	m.stages.WithLabelValues("fetch").Observe(s.fetched.Seconds())
	if s.err != nil {
		m.fetches.WithLabelValues(team, "error").Inc()
		return
	}
	m.fetches.WithLabelValues(team, "ok").Inc()
	m.lastFetch.WithLabelValues(team).SetToCurrentTime()
}

func (m *metrics) standing(problems []problem.Problem, hosts []HostReport) {
	errors := problem.Errors(problems)
	m.problems.WithLabelValues(string(problem.Error)).Set(float64(errors))
	m.problems.WithLabelValues(string(problem.Warning)).Set(float64(len(problems) - errors))
	count := map[string]int{}
	for _, h := range hosts {
		count[h.State]++
	}
	for _, state := range []dag.HostState{dag.Serving, dag.LastGood, dag.Rejected} {
		m.hosts.WithLabelValues(string(state)).Set(float64(count[string(state)]))
	}
}
