package render

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// RunIfChild makes this process a render child if it was started as one; then
// it never returns. Otherwise it does nothing. It must be the first thing that
// main does, and TestMain in packages that render.
//
// A child has taken its walls up before it reads anything: HTTP is refused in
// the process; on Linux no file can be opened, no socket made, no program run,
// no signal sent to others (seccomp, where the kernel allows it) and no
// privilege gained. It starts with an empty environment, in "/", and is killed
// from outside at its deadline and memory limit.
func RunIfChild() {
	if len(os.Args) != 2 || os.Args[1] != childArg || os.Getenv(childEnv) == "" {
		return
	}
	refuseHTTP()
	if err := confineFromInside(); err != nil {
		// The pre-scan and the other walls stand; whoever wants to know looks here.
		fmt.Fprintln(os.Stderr, "render child: not fully confined:", err)
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "render child:", err)
		os.Exit(3)
	}
	os.Exit(0)
}

// serve answers one request.
func serve(in io.Reader, out io.Writer) error {
	if _, err := io.WriteString(out, greeting); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	req, err := readRequest(in)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 64<<10)
	if err := json.NewEncoder(w).Encode(renderTree(req)); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return w.Flush()
}

// refuseHTTP makes every HTTP client that brings no transport of its own fail:
// kustomize makes such clients.
func refuseHTTP() {
	http.DefaultTransport = refusing{}
	http.DefaultClient = &http.Client{Transport: refusing{}}
}

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("there is no network in a render")
}
