package main

import (
	"github.com/spf13/cobra"

	"isoline.dev/isoline/pipeline"
	"isoline.dev/isoline/xds"
)

func newBootstrap() *cobra.Command {
	opts := xds.BootstrapOptions{XDSAddress: "127.0.0.1", XDSPort: 18000, NodeID: "envoy"}
	var in settings
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Print a bootstrap for Envoy",
		Long: `Print a bootstrap with which a plain Envoy is programmed by Isoline:

  isoline bootstrap --xds-port 18000 > envoy.json && envoy -c envoy.json

With -c it has the limits that the configuration sets for each Envoy, and the
port at which it serves them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := in.load()
			if err != nil {
				return err
			}
			pipeline.BootstrapLimits(c, &opts)
			if !cmd.Flags().Changed("xds-port") {
				opts.XDSPort = c.XDS.Port
			}
			body, err := xds.Bootstrap(opts)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(body)
			return err
		},
	}
	f := cmd.Flags()
	in.flags(f)
	f.StringVar(&opts.XDSAddress, "xds-address", opts.XDSAddress, "`ADDRESS` at which Envoy reaches Isoline")
	f.IntVar(&opts.XDSPort, "xds-port", opts.XDSPort, "`PORT` at which Envoy reaches Isoline")
	f.StringVar(&opts.AdminSocket, "admin-socket", "", "serve Envoy's admin interface on the unix socket `PATH`")
	f.IntVar(&opts.AdminPort, "admin-port", 0, "serve Envoy's admin interface on 127.0.0.1:`PORT`")
	f.StringVar(&opts.NodeID, "node-id", opts.NodeID, "name of this Envoy")
	cmd.MarkFlagsMutuallyExclusive("admin-socket", "admin-port")
	return cmd
}
