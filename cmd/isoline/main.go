// Command isoline is GitOps for Envoy routing. Each subcommand is one file
// here: flags and wiring only.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"isoline.dev/isoline/render"
)

// Exit codes.
const (
	exitFine       = 0
	exitProblems   = 1 // problems were found; they have been printed
	exitCannotRun  = 2
	exitInterrupts = 130
)

// errProblems ends a command with exitProblems, silently.
var errProblems = errors.New("problems found")

// version is set when a release is linked.
var version = "devel"

func main() {
	render.RunIfChild() // a render child never returns from here
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := newRoot().ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, errProblems):
		return exitProblems
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupts
	default:
		fmt.Fprintln(os.Stderr, "isoline:", err)
		return exitCannotRun
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "isoline",
		Short: "GitOps for Envoy routing",
		Long: `Isoline pulls HTTPProxy and Ingress manifests from each team's git repository,
proves that no team can take or break another's routes, and programs Envoy.

Exit codes: 0 fine, perhaps with warnings; 1 errors found, or no route; 2 could
not run.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newRun(), newCheck(), newXDS(), newBootstrap(), newRoute(), newDemo(), newVersion())
	return root
}
