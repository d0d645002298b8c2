package repo

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Outcome is what one fetch of a poll loop came to.
type Outcome struct {
	// Revision is what was fetched; the zero Revision when Err is set.
	Revision Revision
	Err      error
	// At is when the fetch began, Duration how long it took.
	At       time.Time
	Duration time.Duration
	// Changed: the commit is not the one of the last successful fetch of this
	// loop. It is true for the first.
	Changed bool
	// LastSuccess is when the last successful fetch of this loop ended, this
	// one included; zero before the first.
	LastSuccess time.Time
	// Failures counts the fetches that failed in a row, up to this one.
	Failures int
	// Next is how long the loop now waits, unless it is woken.
	Next time.Duration
}

// Fetcher is what a poll loop needs of a Repository.
type Fetcher interface {
	Fetch(context.Context) (Revision, error)
}

// Clock is the time as a poll loop sees it.
type Clock interface {
	Now() time.Time
	// Timer returns a channel that receives once after d, and a function that
	// lets go of it.
	Timer(d time.Duration) (<-chan time.Time, func())
}

// Poller fetches again and again. Only Repository and Observe must be set.
type Poller struct {
	Repository Fetcher
	// Interval between fetches, give or take a tenth. Default: 60s.
	Interval time.Duration
	// Wake asks for a fetch at once and forgets earlier failures. A capacity of
	// 1 and sends that do not block make any number of wishes one fetch.
	Wake <-chan struct{}
	// Observe is called after every fetch, on the loop's goroutine.
	Observe func(Outcome)
	// Clock is the system's by default.
	Clock Clock
	// Random returns numbers in [0, 1); math/rand's by default.
	Random func() float64
}

// Poll fetches at once, then every interval give or take a tenth, later when
// fetches fail, and earlier when woken. It returns when ctx ends.
func Poll(ctx context.Context, r Fetcher, interval time.Duration, wake <-chan struct{}, observe func(Outcome)) {
	Poller{Repository: r, Interval: interval, Wake: wake, Observe: observe}.Run(ctx)
}

// Run is the loop; it returns when ctx ends. A fetch that ended for that
// reason is not observed.
func (p Poller) Run(ctx context.Context) {
	if p.Interval <= 0 {
		p.Interval = time.Minute
	}
	if p.Clock == nil {
		p.Clock = systemClock{}
	}
	if p.Random == nil {
		p.Random = rand.Float64
	}
	var last Outcome
	commit := ""
	for {
		o := Outcome{At: p.Clock.Now(), LastSuccess: last.LastSuccess, Failures: last.Failures + 1}
		o.Revision, o.Err = p.Repository.Fetch(ctx)
		if o.Err != nil && ctx.Err() != nil {
			return
		}
		end := p.Clock.Now()
		o.Duration = end.Sub(o.At)
		if o.Err == nil {
			o.Failures, o.LastSuccess = 0, end
			o.Changed, commit = o.Revision.Commit != commit, o.Revision.Commit
		} else {
			o.Revision = Revision{}
		}
		o.Next = nextDelay(p.Interval, o.Failures, p.Random())
		p.Observe(o)
		last = o
		woken, err := p.wait(ctx, o.Next)
		if err != nil {
			return
		}
		if woken {
			last.Failures = 0
		}
	}
}

// wait waits for the delay to pass, to be woken, or for ctx to end.
func (p *Poller) wait(ctx context.Context, delay time.Duration) (woken bool, err error) {
	timer, stop := p.Clock.Timer(delay)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return false, errors.New("the poll loop ends")
		case <-timer:
			return false, nil
		case _, open := <-p.Wake:
			if open {
				return true, nil
			}
			p.Wake = nil
		}
	}
}

const (
	firstBackoff = time.Second
	mostBackoff  = 5 * time.Minute
)

// nextDelay is how long to wait before the next fetch. random is in [0, 1).
// After a success it is the interval, a tenth more or less. After failures it
// doubles from one second (from the interval, if that is shorter) to five
// minutes, is never shorter than the interval, and up to a fifth longer, so
// that repositories that fail together do not come back together.
func nextDelay(interval time.Duration, failures int, random float64) time.Duration {
	if failures <= 0 {
		return scale(interval, 0.9+0.2*random)
	}
	d := min(firstBackoff, interval)
	for range failures - 1 {
		if d >= mostBackoff {
			break
		}
		d *= 2
	}
	return scale(max(min(d, mostBackoff), interval), 1+0.2*random)
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}
