package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"isoline.dev/isoline/problem"
)

const (
	// childArg as the first argument, together with childEnv, makes a process
	// a render child: neither alone, so that no user's argument does.
	childArg = "__render-child"
	childEnv = "ISOLINE_RENDER_CHILD"

	// maxOutput bounds what a child may write.
	maxOutput = 64 << 20
	// maxDiagnostic bounds what is kept of its standard error.
	maxDiagnostic = 8 << 10
	// watchInterval is how often a child's memory is looked at. It can take
	// about 20 MiB in that time.
	watchInterval = 10 * time.Millisecond
	// pipeGrace is how long a killed child's pipes may stay open.
	pipeGrace = 5 * time.Second
)

// Why a child was killed.
var (
	errDeadline = errors.New("deadline exceeded")
	errMemory   = errors.New("memory exceeded")
	errOutput   = errors.New("output too large")
)

// childOutput is what came of a child.
type childOutput struct {
	response   childResponse
	diagnostic string
}

// runChild runs one child to its end: it never outlives the call, whatever it
// does. What the tree made the child do is in the response's problems; an
// error means that ctx ended or the child could not be run.
func runChild(ctx context.Context, arg string, req childRequest, limits Limits) (childOutput, error) {
	if os.Getenv(childEnv) != "" {
		return childOutput{}, errors.New("a render child cannot render: main must call render.RunIfChild before anything else")
	}
	exe, err := executable()
	if err != nil {
		return childOutput{}, fmt.Errorf("find the program to run: %w", err)
	}
	in, err := req.reader()
	if err != nil {
		return childOutput{}, err
	}
	watched, kill := context.WithCancelCause(ctx)
	defer kill(nil)

	stdout := &cappedBuffer{limit: maxOutput, exceeded: func() { kill(errOutput) }}
	stderr := &cappedBuffer{limit: maxDiagnostic, exceeded: func() {}}
	cmd := exec.CommandContext(watched, exe, arg)
	cmd.Env = childEnviron(limits)
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, stdout, stderr
	cmd.WaitDelay = pipeGrace
	confineFromOutside(cmd)

	// The kernel ends the child with the thread that started it: that thread
	// has to live as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		if ctx.Err() != nil {
			return childOutput{}, context.Cause(ctx)
		}
		return childOutput{}, fmt.Errorf("start the render's process: %w", err)
	}
	deadline := time.AfterFunc(limits.Deadline, func() { kill(errDeadline) })
	defer deadline.Stop()
	stopWatching := watchMemory(cmd.Process.Pid, limits.Memory, func() { kill(errMemory) })
	waitErr := cmd.Wait()
	stopWatching()
	if ctx.Err() != nil {
		return childOutput{}, context.Cause(ctx)
	}
	return judge(req.Build, limits, context.Cause(watched), waitErr, stdout.kept, stderr.kept)
}

// judge says what a child's end means. killed is why we killed it, or nil.
func judge(build string, limits Limits, killed, waitErr error, stdout, stderr []byte) (childOutput, error) {
	fail := func(reason, msg, remedy string) (childOutput, error) {
		return childOutput{
			response:   childResponse{Problems: []problem.Problem{failure(build, reason, msg, remedy)}},
			diagnostic: string(bytes.ToValidUTF8(stderr, nil)),
		}, nil
	}
	// A child that ended well before the kill reached it has answered.
	resp, greeted, respErr := readResponse(stdout)
	switch {
	case respErr == nil && waitErr == nil:
		return childOutput{response: resp}, nil
	case errors.Is(killed, errDeadline):
		return fail(ReasonDeadlineExceeded, fmt.Sprintf("the render took longer than %s and was ended", limits.Deadline),
			"make the tree smaller, split it, or raise render.deadline")
	case errors.Is(killed, errMemory):
		return fail(ReasonMemoryExceeded, fmt.Sprintf("the render took more than %d MiB of memory and was ended", limits.Memory>>20),
			"make the tree smaller, split it, or raise render.memory")
	case errors.Is(killed, errOutput):
		return fail(ReasonOutputTooLarge, fmt.Sprintf("the rendered objects have more than %d MiB", maxOutput>>20),
			"make the tree smaller or split it")
	case !greeted:
		return childOutput{}, fmt.Errorf("the render's process does not answer as one (%v): main must call render.RunIfChild before anything else", orEnded(waitErr))
	default:
		return fail(ReasonCrashed, fmt.Sprintf("the render's process ended before it answered (%v)", orEnded(waitErr)),
			"undo what was changed last; Isoline's log has more")
	}
}

func orEnded(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// childEnviron is the whole environment of a child: no PATH, no home, no
// proxies, no credentials.
func childEnviron(limits Limits) []string {
	return append(raceEnviron(),
		childEnv+"=1",
		"GOMAXPROCS=1",
		"GOMEMLIMIT="+strconv.FormatInt(limits.Memory/4*3, 10),
	)
}

// watchMemory calls exceeded once if the process's own memory goes above
// limit. The function it returns ends the watch and waits for it.
func watchMemory(pid int, limit int64, exceeded func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(watchInterval)
		defer ticker.Stop()
		for {
			if used, err := ownMemory(pid); err == nil && used > limit {
				exceeded()
				return
			}
			select {
			case <-done:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() { close(done); <-ended }
}

// cappedBuffer keeps the first bytes written to it, and calls exceeded once
// when there are more. It takes all bytes, so that the writer does not hang.
// It embeds no buffer: that one's ReadFrom would go round the limit.
type cappedBuffer struct {
	kept     []byte
	limit    int
	over     bool
	exceeded func()
}

var _ io.Writer = (*cappedBuffer)(nil)

func (b *cappedBuffer) Write(p []byte) (int, error) {
	room := max(b.limit-len(b.kept), 0)
	if len(p) > room && !b.over {
		b.over = true
		b.exceeded()
	}
	b.kept = append(b.kept, p[:min(len(p), room)]...)
	return len(p), nil
}
