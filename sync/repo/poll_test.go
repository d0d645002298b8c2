package repo

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"isoline.dev/isoline/config"
)

func TestTheNextDelayFollowsTheIntervalAndTheFailures(t *testing.T) {
	const middle = 0.5
	for _, test := range []struct {
		interval time.Duration
		failures int
		random   float64
		want     time.Duration
	}{
		{time.Minute, 0, 0, 54 * time.Second},
		{time.Minute, 0, middle, time.Minute},
		{time.Second, 1, 0, time.Second},
		{time.Second, 2, 0, 2 * time.Second},
		{time.Second, 9, 0, 256 * time.Second},
		{time.Second, 10, 0, 5 * time.Minute},
		{time.Second, 1000, 0, 5 * time.Minute},
		{time.Second, 1000, middle, 330 * time.Second},
		{100 * time.Millisecond, 1, 0, 100 * time.Millisecond},
		{100 * time.Millisecond, 4, 0, 800 * time.Millisecond},
		{time.Minute, 1, 0, time.Minute},
		{time.Minute, 8, 0, 128 * time.Second},
		{time.Hour, 100, 0, time.Hour},
	} {
		if got := nextDelay(test.interval, test.failures, test.random); got != test.want {
			t.Errorf("interval %s after %d failures: %s, want %s", test.interval, test.failures, got, test.want)
		}
	}
}

func TestTheNextDelayStaysInItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.Int64Range(int64(100*time.Millisecond), int64(24*time.Hour)).Draw(t, "interval"))
		failures := rapid.IntRange(0, 2000).Draw(t, "failures")
		random := rapid.Float64Range(0, 0.999).Draw(t, "random")
		got := nextDelay(interval, failures, random)
		least, most := interval, max(interval, mostBackoff)*6/5
		if failures == 0 {
			least, most = interval*9/10-1, interval*11/10+1
		}
		if got < least || got > most {
			t.Fatalf("%s is not from %s to %s", got, least, most)
		}
		if next := nextDelay(interval, failures+1, random); failures > 0 && next < got {
			t.Fatalf("one more failure waits %s, less than %s", next, got)
		}
	})
}

// script is a Fetcher that does what it is told.
type script struct {
	steps []func(ctx context.Context) (Revision, error)
	calls int
}

func (s *script) Fetch(ctx context.Context) (Revision, error) {
	step := s.steps[min(s.calls, len(s.steps)-1)]
	s.calls++
	return step(ctx)
}

func gives(commit string) func(context.Context) (Revision, error) {
	return func(context.Context) (Revision, error) { return Revision{Commit: commit}, nil }
}

func fails(context.Context) (Revision, error) { return Revision{Commit: "half"}, errors.New("away") }

func TestThePollLoopFetchesWaitsBacksOffAndWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		slow := func(context.Context) (Revision, error) { time.Sleep(time.Second); return Revision{Commit: "b"}, nil }
		s := &script{steps: []func(context.Context) (Revision, error){
			gives("a"), gives("a"), slow, fails, fails, fails, gives("b"), gives("c")}}
		wake := make(chan struct{}, 1)
		type seen struct {
			At, Duration, LastSuccess time.Duration
			Commit                    string
			Err, Changed              bool
			Failures                  int
			Next                      time.Duration
		}
		var got []seen
		done := make(chan struct{})
		go func() {
			defer close(done)
			Poller{Repository: s, Interval: 10 * time.Second, Wake: wake, Random: func() float64 { return 0.5 }, Observe: func(o Outcome) {
				got = append(got, seen{o.At.Sub(start), o.Duration, o.LastSuccess.Sub(start), o.Revision.Commit,
					o.Err != nil, o.Changed, o.Failures, o.Next})
				switch len(got) {
				case 6: // woken after the third failure
					wake <- struct{}{}
				case 8:
					cancel()
				}
			}}.Run(ctx)
		}()
		<-done
		sec := time.Second
		want := []seen{
			{At: 0, Commit: "a", Changed: true, Next: 10 * sec},
			{At: 10 * sec, LastSuccess: 10 * sec, Commit: "a", Next: 10 * sec},
			{At: 20 * sec, Duration: sec, LastSuccess: 21 * sec, Commit: "b", Changed: true, Next: 10 * sec},
			{At: 31 * sec, LastSuccess: 21 * sec, Err: true, Failures: 1, Next: 11 * sec},
			{At: 42 * sec, LastSuccess: 21 * sec, Err: true, Failures: 2, Next: 11 * sec},
			{At: 53 * sec, LastSuccess: 21 * sec, Err: true, Failures: 3, Next: 11 * sec},
			{At: 53 * sec, LastSuccess: 53 * sec, Commit: "b", Next: 10 * sec},
			{At: 63 * sec, LastSuccess: 63 * sec, Commit: "c", Changed: true, Next: 10 * sec},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBeingWokenForgetsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		wake := make(chan struct{}, 1)
		var failures []int
		Poller{Repository: &script{steps: []func(context.Context) (Revision, error){fails}}, Interval: time.Second, Wake: wake,
			Observe: func(o Outcome) {
				failures = append(failures, o.Failures)
				switch len(failures) {
				case 3:
					wake <- struct{}{}
				case 5:
					cancel()
				}
			}}.Run(ctx)
		if diff := cmp.Diff([]int{1, 2, 3, 1, 2}, failures); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAClosedWakeChannelDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		wake := make(chan struct{})
		close(wake)
		s := &script{steps: []func(context.Context) (Revision, error){gives("a")}}
		start := time.Now()
		Poll(ctx, s, time.Minute, wake, func(Outcome) {
			if s.calls == 3 {
				cancel()
			}
		})
		if d := time.Since(start); d < 108*time.Second {
			t.Errorf("three fetches took %s", d)
		}
	})
}

func TestAFetchThatEndsWithTheLoopIsNotObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hang := func(ctx context.Context) (Revision, error) { cancel(); <-ctx.Done(); return Revision{}, ctx.Err() }
		Poll(ctx, &script{steps: []func(context.Context) (Revision, error){hang}}, time.Minute, nil, func(o Outcome) {
			t.Errorf("observed %+v", o)
		})
	})
}

func TestAPollOfARealServerSeesPushesAndOutages(t *testing.T) {
	r := newRig(t)
	first := r.push("1")
	repo := r.open(config.Repo{})
	wake, outcomes := make(chan struct{}, 1), make(chan Outcome)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Poll(ctx, repo, time.Hour, wake, func(o Outcome) {
			select {
			case outcomes <- o:
			case <-ctx.Done():
			}
		})
	}()
	defer func() { cancel(); <-done }()
	if o := <-outcomes; o.Err != nil || o.Revision.Commit != first || !o.Changed {
		t.Errorf("first %+v", o)
	}
	second := r.push("2")
	wake <- struct{}{}
	if o := <-outcomes; o.Err != nil || o.Revision.Commit != second || !o.Changed || o.LastSuccess.IsZero() {
		t.Errorf("second %+v", o)
	}
	r.server.Close()
	wake <- struct{}{}
	if o := <-outcomes; ReasonOf(o.Err) != ReasonUnreachable || o.Changed || o.Failures != 1 || o.LastSuccess.IsZero() {
		t.Errorf("third %+v", o)
	}
}
