package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"isoline.dev/isoline/demo"
)

func newDemo() *cobra.Command {
	var opts demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play git pushes from three teams through a real Envoy, on this machine",
		Long: `Start a git server with three repositories, upstreams, Isoline and Envoy on
loopback, push changes, and prove each by requests through Envoy. Needs git, and
an Envoy: ISOLINE_ENVOY, .tools/bin/envoy (make tools-envoy), or one on PATH.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program, to run it: %w", err)
			}
			opts.Isoline, opts.Out = self, cmd.OutOrStdout()
			opts.Color = term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == ""
			err = demo.Run(cmd.Context(), opts)
			switch {
			case errors.Is(err, demo.ErrBroken):
				return errProblems
			case cmd.Context().Err() != nil && !opts.Exit:
				return nil // the user has seen enough
			default:
				return err
			}
		},
	}
	cmd.Flags().BoolVar(&opts.Exit, "exit", false, "end after the play: status 0, or 1 if a step was not as promised")
	return cmd
}
