package lab

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// LoadOptions say what is asked for, again and again.
type LoadOptions struct {
	URL string
	// Host is the Host header; empty leaves it to the URL.
	Host   string
	Header http.Header
	// Clients ask side by side, each with one connection kept alive. Default 1.
	Clients int
	// TLS, if set, is how an https URL is connected to.
	TLS *tls.Config
	// Reconnect makes a connection for every request.
	Reconnect bool
	// Pause is how long each client waits between two requests.
	Pause time.Duration
}

// Load is a running stream of requests.
type Load struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	mu     sync.Mutex
	result LoadResult
}

// LoadResult counts answers.
type LoadResult struct {
	Total int
	// Statuses by code, and Errors by text for requests without an answer.
	Statuses map[int]int
	Errors   map[string]int
	// Names counts the upstreams that answered, if they are Upstreams.
	Names map[string]int
}

// Failures counts everything that is not a 200.
func (r LoadResult) Failures() int { return r.Total - r.Statuses[http.StatusOK] }

// String lists what came back.
func (r LoadResult) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests", r.Total)
	for _, code := range slices.Sorted(maps.Keys(r.Statuses)) {
		fmt.Fprintf(&b, ", %d × %d", r.Statuses[code], code)
	}
	for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, ", %d × %s", r.Errors[text], text)
	}
	return b.String()
}

// StartLoad sends requests until ctx ends or Stop is called.
func StartLoad(ctx context.Context, opts LoadOptions) *Load {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{cancel: cancel, result: LoadResult{Statuses: map[int]int{}, Errors: map[string]int{}, Names: map[string]int{}}}
	for range max(1, opts.Clients) {
		l.wait.Go(func() { l.client(ctx, opts) })
	}
	return l
}

// Result is what was counted so far.
func (l *Load) Result() LoadResult {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.result
	r.Statuses, r.Errors, r.Names = maps.Clone(r.Statuses), maps.Clone(r.Errors), maps.Clone(r.Names)
	return r
}

// Stop ends the load and returns what was counted. A request that is on its
// way is not counted.
func (l *Load) Stop() LoadResult {
	l.cancel()
	l.wait.Wait()
	return l.Result()
}

func (l *Load) client(ctx context.Context, opts LoadOptions) {
	transport := &http.Transport{
		MaxIdleConnsPerHost: 1, DisableCompression: true, TLSClientConfig: opts.TLS, DisableKeepAlives: opts.Reconnect,
	}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for ctx.Err() == nil {
		status, name, err := ask(ctx, c, opts)
		if ctx.Err() != nil {
			return
		}
		l.count(status, name, err)
		if opts.Pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(opts.Pause):
			}
		}
	}
}

func ask(ctx context.Context, c *http.Client, opts LoadOptions) (status int, name string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, opts.URL, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = opts.Host
	maps.Copy(req.Header, opts.Header)
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, "", err
	}
	var echo Echo
	if json.Unmarshal(body, &echo) != nil {
		return resp.StatusCode, "", nil // not an Upstream: Envoy itself answered
	}
	return resp.StatusCode, echo.Name, nil
}

func (l *Load) count(status int, name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result.Total++
	if err != nil {
		l.result.Errors[err.Error()]++
		return
	}
	l.result.Statuses[status]++
	if name != "" {
		l.result.Names[name]++
	}
}
