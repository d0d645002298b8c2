package render

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"isoline.dev/isoline/problem"
)

// misbehave is what children of these tests do instead of rendering.
func misbehave(how string) {
	if how != "test-silent" {
		fmt.Print(greeting)
	}
	switch how {
	case "test-silent":
		fmt.Println("PASS")
	case "test-crash":
		panic("secret of the tree")
	case "test-exit":
	case "test-garbage":
		fmt.Println(`{"objects": 3`)
	case "test-hang":
		select {}
	case "test-family":
		cousin := exec.Command("/proc/self/exe", "test-hang")
		cousin.Env, cousin.Stdout, cousin.Stderr = os.Environ(), os.Stdout, os.Stderr
		if err := cousin.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, cousin.Process.Pid)
		select {}
	case "test-flood":
		for {
			os.Stdout.Write(make([]byte, 1<<20))
		}
	case "test-devour":
		var held [][]byte
		for {
			held = append(held, bytes.Repeat([]byte{1}, 1<<20))
			runtime.KeepAlive(held)
		}
	case "test-walls":
		tryWalls()
	default:
		fmt.Fprintln(os.Stderr, "no such misbehaviour:", how)
		os.Exit(4)
	}
	os.Exit(0)
}

// misbehaving runs a child of that kind.
func misbehaving(ctx context.Context, how string, src Source) (Result, error) {
	r := New()
	r.arg = how
	return r.Render(ctx, src)
}

func TestAChildThatMisbehavesIsEndedAndIsAProblemOfItsTree(t *testing.T) {
	for how, c := range map[string]struct {
		limits Limits
		want   string
	}{
		"test-crash":   {want: ReasonCrashed},
		"test-exit":    {want: ReasonCrashed},
		"test-garbage": {want: ReasonCrashed},
		"test-hang":    {limits: Limits{Deadline: 300 * time.Millisecond}, want: ReasonDeadlineExceeded},
		"test-family":  {limits: Limits{Deadline: time.Second}, want: ReasonDeadlineExceeded},
		"test-flood":   {want: ReasonOutputTooLarge},
		"test-devour":  {limits: Limits{Memory: 128 << 20}, want: ReasonMemoryExceeded},
	} {
		t.Run(how, func(t *testing.T) {
			result, err := misbehaving(t.Context(), how, Source{Team: "shop", Build: "prod", Repository: "r", Limits: c.limits})
			if err != nil {
				t.Fatal(err)
			}
			if got := reasons(result); len(got) != 1 || got[0] != c.want {
				t.Fatalf("problems %v, want one of %s", result.Problems, c.want)
			}
			p := result.Problems[0]
			if p.Severity != problem.Error || p.Team != "shop" || p.Origin.Path != "prod" || p.Origin.Repository != "r" || p.Remedy == "" {
				t.Errorf("the problem is not complete: %+v", p)
			}
			if strings.Contains(p.String(), "secret") {
				t.Errorf("the problem tells what the child wrote: %s", p)
			}
			if how == "test-crash" && !strings.Contains(result.Diagnostic, "secret of the tree") {
				t.Errorf("the diagnostic has not what the child wrote: %q", result.Diagnostic)
			}
			if how == "test-family" {
				ended(t, result.Diagnostic)
			}
		})
	}
}

// ended waits for a process that nobody here can wait for.
func ended(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil {
		t.Fatalf("no pid: %q", pid)
	}
	for deadline := time.Now().Add(enough); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(n) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d, started by the child, still lives", n)
		}
	}
}

func TestAProgramThatDoesNotCallRunIfChildIsAnError(t *testing.T) {
	_, err := misbehaving(t.Context(), "test-silent", Source{})
	if err == nil || !strings.Contains(err.Error(), "RunIfChild") {
		t.Fatalf("error %v, want one that names RunIfChild", err)
	}
}

func TestCancellingEndsTheChild(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err := misbehaving(ctx, "test-hang", Source{})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want that of the context", err)
	}
}

func TestAHangingTreeDoesNotKeepOthersFromRendering(t *testing.T) {
	r := &Renderer{slots: make(chan struct{}, 2), arg: childArg}
	hang := &Renderer{slots: r.slots, arg: "test-hang"}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := hang.Render(ctx, Source{}); err == nil {
			t.Error("the hanging render ended by itself")
		}
	})
	defer wg.Wait()
	defer cancel()
	for range 3 {
		result, err := r.Render(ctx, Source{Files: text(map[string]string{"a.yaml": "{apiVersion: v1, kind: Service, metadata: {name: a}}"})})
		if err != nil || len(result.Objects) != 1 {
			t.Fatalf("objects %v, problems %v, error %v", result.Objects, result.Problems, err)
		}
	}
}

func TestNoMoreChildrenRunThanThereAreSlots(t *testing.T) {
	r := &Renderer{slots: make(chan struct{}, 1), arg: childArg}
	r.slots <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := r.Render(ctx, Source{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want the context's", err)
	}
}

// tryWalls does what a render must not, after the walls are up, and answers
// with one problem for each thing that worked.
func tryWalls() {
	refuseHTTP()
	confined := confineFromInside()
	resp := childResponse{Problems: []problem.Problem{{Reason: "confined", Message: fmt.Sprint(confined)}}}
	worked := func(what string, err error) {
		if err == nil {
			resp.Problems = append(resp.Problems, problem.Problem{Reason: what})
		}
	}
	req, err := readRequest(os.Stdin)
	if err != nil {
		panic(err)
	}
	url := string(req.Files[0].Content)
	for name, client := range map[string]*http.Client{"http.Get": http.DefaultClient, "another transport": {Transport: &http.Transport{}}} {
		answer, err := client.Get(url)
		worked(name, err)
		if err == nil {
			answer.Body.Close()
		}
	}
	_, err = net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	worked("dial", err)
	_, err = os.ReadFile("/etc/hostname")
	worked("read a file", err)
	worked("write a file", os.WriteFile("/tmp/isoline-render-wall-test", nil, 0o600))
	worked("run a program", exec.Command("/bin/true").Run())
	worked("run this program", exec.Command("/proc/self/exe", "test-exit").Run())
	worked("signal the parent", syscall.Kill(os.Getppid(), 0))
	_, err = exec.LookPath("git")
	worked("find git", err)
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case childEnv, "GOMAXPROCS", "GOMEMLIMIT", "GORACE":
		default:
			worked("see the variable "+name, nil)
		}
	}
	dir, _ := syscall.Getwd()
	if dir != "/" {
		worked("start in "+dir, nil)
	}
	// The runtime still works: threads, collections, goroutines.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { runtime.LockOSThread(); runtime.GC() })
	}
	wg.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(resp); err != nil {
		panic(err)
	}
}

// What tryWalls shows of the walls holds for children that render: they stand
// before the child greets.
func TestARealChildIsBehindTheWalls(t *testing.T) {
	exe, err := executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, childArg)
	cmd.Env = childEnviron(Limits{}.withDefaults())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // it ends without a request, which is an error
	defer in.Close()
	if _, err := io.ReadFull(out, make([]byte, len(greeting))); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the child's status has no %q:\n%s", want, status)
		}
	}
}

func TestTheWallsOfAChildHold(t *testing.T) {
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer server.Close()
	t.Setenv("ISOLINE_TEST_SECRET", "x")
	result, err := misbehaving(t.Context(), "test-walls", Source{Files: text(map[string]string{"url": server.URL})})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Problems) == 0 {
		t.Fatalf("no answer")
	}
	for _, p := range result.Problems {
		if p.Reason == "confined" {
			if p.Message != "<nil>" {
				t.Errorf("not fully confined: %s", p.Message)
			}
			continue
		}
		t.Errorf("the child could %s", p.Reason)
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}
