package demo

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"isoline.dev/isoline/lab"
)

// act is one step of the play.
type act struct {
	title string
	run   func(*stage, context.Context) error
}

var acts = []act{
	{"A first route: the platform team pushes an HTTPProxy", (*stage).simple},
	{"Delegation: the platform hands /blog to team-a", (*stage).delegation},
	{"Request requirements: x-beta: yes gets the next blog", (*stage).requirements},
	{"A canary: 10% of the blog's readers get the next version", (*stage).canary},
	{"Blue/green: team-b cuts its shop over under load", (*stage).blueGreen},
	{"The dangerous case: two teams claim projectcontour.io/blog", (*stage).conflict},
	{"A broken push changes nothing", (*stage).broken},
}

// play shows the acts in turn and stops at the first that is not as promised.
func (s *stage) play(ctx context.Context) error {
	for i, a := range acts {
		s.say.title("%d. %s", i+1, a.title)
		if err := a.run(s, ctx); err != nil {
			return fmt.Errorf("%s: %w", a.title, err)
		}
	}
	s.say.title("Every step was as promised")
	s.say.line("From the end of git push to the first request that proves it, with a poll every 200 ms:")
	for _, t := range s.times {
		s.say.line("  %6d ms  %s", t.took.Milliseconds(), t.what)
	}
	return nil
}

func (s *stage) simple(ctx context.Context) error {
	if err := s.expect(ctx, "before the push", answer{status: 404}, "www.example.com", "/"); err != nil {
		return err
	}
	if err := s.change(ctx, "platform", "www.example.com", map[string]string{"routes/www.yaml": wwwRoot(false)},
		answer{200, "platform/web"}, "www.example.com", "/"); err != nil {
		return err
	}
	return s.expect(ctx, "a host that nobody has", answer{status: 404}, "nobody.example.com", "/")
}

func (s *stage) delegation(ctx context.Context) error {
	if _, err := s.push("team-a", "the blog's routes", map[string]string{"routes/blog.yaml": blogChild}); err != nil {
		return err
	}
	s.say.line("team-a pushes an HTTPProxy without a host: nothing includes it yet, so Isoline says")
	if err := s.problem(ctx, "Orphaned", "team-a/blog"); err != nil {
		return err
	}
	if err := s.expect(ctx, "still the platform's", answer{200, "platform/web"}, "www.example.com", "/blog/hello"); err != nil {
		return err
	}
	if err := s.change(ctx, "platform", "include team-a for /blog", map[string]string{"routes/www.yaml": wwwRoot(true)},
		answer{200, "team-a/blog"}, "www.example.com", "/blog/hello"); err != nil {
		return err
	}
	return s.expect(ctx, "the rest stays", answer{200, "platform/web"}, "www.example.com", "/about")
}

func (s *stage) requirements(ctx context.Context) error {
	if err := s.change(ctx, "team-a", "the next blog for x-beta: yes", map[string]string{"routes/blog.yaml": blogChildWithBeta},
		answer{200, "team-a/blog-next"}, "www.example.com", "/blog", "x-beta", "yes"); err != nil {
		return err
	}
	return s.expect(ctx, "without the header", answer{200, "team-a/blog"}, "www.example.com", "/blog")
}

// canaryRequests are counted; with 10% wanted, four standard deviations are
// 4·√(n·0.1·0.9), so a right split fails about once in 16,000 plays.
const canaryRequests = 2000

func (s *stage) canary(ctx context.Context) error {
	next := s.upstreams["team-a/blog-next"]
	if _, err := s.push("team-a", "10% canary", map[string]string{"routes/blog.yaml": blogCanary(90, 10)}); err != nil {
		return err
	}
	start, before := time.Now(), next.Requests()
	if err := s.until(ctx, func() error {
		if _, err := s.get(ctx, "www.example.com", "/blog"); err != nil {
			return err
		}
		if next.Requests() == before {
			return fmt.Errorf("the canary has no request yet")
		}
		return nil
	}); err != nil {
		return err
	}
	s.timed("10% canary", time.Since(start))
	before = next.Requests()
	for range canaryRequests {
		if _, err := s.get(ctx, "www.example.com", "/blog"); err != nil {
			return err
		}
	}
	got := int(next.Requests() - before)
	want, tolerance := canaryRequests/10, int(4*math.Sqrt(canaryRequests*0.1*0.9))
	s.say.line("of %d requests %d went to the canary: %.1f%%", canaryRequests, got, float64(got)*100/canaryRequests)
	if got < want-tolerance || got > want+tolerance {
		return fmt.Errorf("that is not %d ± %d", want, tolerance)
	}
	s.say.proved("a 90/10 split, as written")
	return nil
}

func (s *stage) blueGreen(ctx context.Context) error {
	if err := s.change(ctx, "team-b", "the shop, blue", map[string]string{"routes/shop.yaml": shop("blue")},
		answer{200, "team-b/shop-blue"}, "shop.example.com", "/"); err != nil {
		return err
	}
	load := lab.StartLoad(ctx, lab.LoadOptions{URL: fmt.Sprintf("http://127.0.0.1:%d/", s.http), Host: "shop.example.com", Clients: 4})
	err := s.change(ctx, "team-b", "cut over to green", map[string]string{"routes/shop.yaml": shop("green")},
		answer{200, "team-b/shop-green"}, "shop.example.com", "/")
	result := load.Stop()
	if err != nil {
		return err
	}
	s.say.line("%d requests during the cutover, %d of them failed", result.Total, result.Failures())
	if result.Failures() > 0 || result.Total == 0 {
		return fmt.Errorf("requests failed: %s", result)
	}
	s.say.proved("not one request lost")
	return nil
}

func (s *stage) conflict(ctx context.Context) error {
	if err := s.change(ctx, "team-a", "an Ingress for projectcontour.io/blog", map[string]string{"routes/ingress.yaml": blogIngress("team-a", "blog")},
		answer{200, "team-a/blog"}, "projectcontour.io", "/blog"); err != nil {
		return err
	}
	commit, err := s.push("team-b", "the same for us", map[string]string{"routes/ingress.yaml": blogIngress("team-b", "blog")})
	if err != nil {
		return err
	}
	s.say.line("team-b pushes %.8s, an Ingress for the same host and path; Isoline says", commit)
	if err := s.problem(ctx, "PathConflict", "team-b/blog"); err != nil {
		return err
	}
	for range 50 {
		if a, err := s.get(ctx, "projectcontour.io", "/blog"); err != nil || a != (answer{200, "team-a/blog"}) {
			return fmt.Errorf("projectcontour.io/blog: %v, %w", a, err)
		}
	}
	s.say.proved("50 of 50 requests still go to team-a, who had it first")
	return nil
}

func (s *stage) broken(ctx context.Context) error {
	if _, err := s.push("team-b", "merge", map[string]string{"routes/shop.yaml": broken}); err != nil {
		return err
	}
	s.say.line("team-b pushes a merge with a conflict marker left in it; Isoline says")
	if err := s.problem(ctx, "SyntaxError", ""); err != nil {
		return err
	}
	for host, want := range map[string]string{"shop.example.com": "team-b/shop-green", "www.example.com": "platform/web"} {
		if err := s.expect(ctx, "as before", answer{200, want}, host, "/"); err != nil {
			return err
		}
	}
	return s.change(ctx, "team-b", "mend it", map[string]string{"routes/shop.yaml": shop("blue")},
		answer{200, "team-b/shop-blue"}, "shop.example.com", "/")
}

// change pushes files and waits for the request that proves them.
func (s *stage) change(ctx context.Context, team, message string, files map[string]string, want answer, host, path string, headers ...string) error {
	commit, err := s.push(team, message, files)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := s.until(ctx, func() error { return s.is(ctx, want, host, path, headers...) }); err != nil {
		return err
	}
	took := time.Since(start)
	s.timed(team+": "+message, took)
	s.say.proved("%s pushed %.8s; %s → %s, %d ms after the push", team, commit, curl(host, path, headers), want, took.Milliseconds())
	return nil
}

// expect sends one request, now.
func (s *stage) expect(ctx context.Context, why string, want answer, host, path string) error {
	if err := s.is(ctx, want, host, path); err != nil {
		return err
	}
	s.say.proved("%s → %s (%s)", host+path, want, why)
	return nil
}

func (s *stage) is(ctx context.Context, want answer, host, path string, headers ...string) error {
	got, err := s.get(ctx, host, path, headers...)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s: got %s, want %s", curl(host, path, headers), got, want)
	}
	return nil
}

// problem waits until Isoline has a problem of a reason about an object, and
// shows it.
func (s *stage) problem(ctx context.Context, reason, object string) error {
	return s.until(ctx, func() error {
		r, err := s.report(ctx)
		if err != nil {
			return err
		}
		for _, p := range r.Problems {
			name := p.Object.Namespace + "/" + p.Object.Name
			if p.Reason != reason || (object != "" && name != object) {
				continue
			}
			s.say.quote("%s: %s/%s: %s", p.Origin, p.Type, p.Reason, p.Message)
			for _, other := range p.Related {
				s.say.quote("  it is with %s %s/%s at %s", other.Object.Kind, other.Object.Namespace, other.Object.Name, other.Origin)
			}
			return nil
		}
		return fmt.Errorf("isoline does not report %s for %s", reason, object)
	})
}

// until repeats check for at most half a minute.
func (s *stage) until(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-s.isoline.Done():
			return fmt.Errorf("isoline has ended: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *stage) timed(what string, took time.Duration) {
	s.times = append(s.times, timing{what, took})
}

func curl(host, path string, headers []string) string {
	var b strings.Builder
	b.WriteString(host + path)
	for i := 0; i+1 < len(headers); i += 2 {
		fmt.Fprintf(&b, " (%s: %s)", headers[i], headers[i+1])
	}
	return b.String()
}

// invite says how to go on by hand.
func (s *stage) invite() {
	s.say.title("It is yours now; ctrl-c ends it")
	s.say.line("Clone, change, push:")
	for _, team := range []string{"platform", "team-a", "team-b"} {
		s.say.line("  git clone %s", s.git.URL(team))
	}
	s.say.line("Ask Envoy:")
	s.say.line("  curl -H 'Host: www.example.com' http://127.0.0.1:%d/blog", s.http)
	s.say.line("  curl -H 'Host: www.example.com' -H 'x-beta: yes' http://127.0.0.1:%d/blog", s.http)
	s.say.line("  curl -H 'Host: shop.example.com' http://127.0.0.1:%d/", s.http)
	s.say.line("Ask Isoline:")
	s.say.line("  curl http://127.0.0.1:%d/api/v1/report", s.web)
	s.say.line("  curl http://127.0.0.1:%d/metrics", s.web)
	s.say.line("  isoline route -c %s/isoline.yaml http://www.example.com/blog", s.dir)
}
