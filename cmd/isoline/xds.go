package main

import (
	"github.com/spf13/cobra"

	"isoline.dev/isoline/pipeline"
)

func newXDS() *cobra.Command {
	var in inputs
	var out output
	cmd := &cobra.Command{
		Use:   "xds [-c FILE] [--manifests DIR]",
		Short: "Print the Envoy resources that the routes compile to",
		Args:  onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := in.options()
			if err != nil {
				return err
			}
			built, err := pipeline.Load(cmd.Context(), opts)
			if err != nil {
				return err
			}
			if out.json() {
				body, err := built.DumpXDS()
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(body)
				return err
			}
			return built.PrintXDS(cmd.OutOrStdout())
		},
	}
	in.flags(cmd)
	out.flag(cmd)
	return cmd
}
