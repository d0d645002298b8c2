package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/pipeline"
	"isoline.dev/isoline/web"
)

func newRun() *cobra.Command {
	var in inputs
	var addresses addressFlags
	cmd := &cobra.Command{
		Use:   "run [-c FILE] [--manifests DIR]",
		Short: "Pull, compile and serve Envoys",
		Args:  onlyFlags,
		Example: `  isoline run -c isoline.yaml
  isoline run --manifests routes/ --http-port 8080`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := in.options()
			if err != nil {
				return err
			}
			if err := addresses.apply(cmd.Flags(), opts.Config); err != nil {
				return err
			}
			return serve(cmd.Context(), opts)
		},
	}
	in.flags(cmd)
	addresses.flags(cmd.Flags())
	return cmd
}

// serve runs the pipeline and the web port until ctx ends.
func serve(ctx context.Context, opts pipeline.Options) error {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	opts.Metrics = metrics
	p, err := pipeline.New(opts)
	if err != nil {
		return err
	}
	xdsListener, err := listen(ctx, "xDS", opts.Config.XDS.Address)
	if err != nil {
		return err
	}
	webListener, err := listen(ctx, "web", opts.Config.Web)
	if err != nil {
		return errors.Join(err, xdsListener.Close())
	}
	opts.Log.Info("listening", "xds", xdsListener.Addr().String(), "web", webListener.Addr().String())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.Run(ctx, xdsListener) })
	g.Go(func() error { return web.Serve(ctx, webListener, web.Handler(p, metrics)) })
	return g.Wait()
}

func listen(ctx context.Context, what string, a config.Address) (net.Listener, error) {
	at := netip.AddrPortFrom(netip.MustParseAddr(a.Address), uint16(a.Port))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("open the %s port: %w", what, err)
	}
	return l, nil
}

// addressFlags override the configuration's addresses.
type addressFlags map[string]*struct {
	address string
	port    int
}

// ports are the listeners that flags name, and where the configuration has them.
var ports = []struct {
	name, what string
	in         func(*config.Config) *config.Address
}{
	{"xds", "Envoys are served", func(c *config.Config) *config.Address { return &c.XDS.Address }},
	{"http", "Envoy takes HTTP requests", func(c *config.Config) *config.Address { return &c.Listeners.HTTP }},
	{"https", "Envoy takes HTTPS requests", func(c *config.Config) *config.Address { return &c.Listeners.HTTPS }},
	{"web", "health, metrics and the report are served", func(c *config.Config) *config.Address { return &c.Web }},
}

func (a *addressFlags) flags(f *pflag.FlagSet) {
	*a = addressFlags{}
	for _, p := range ports {
		v := new(struct {
			address string
			port    int
		})
		(*a)[p.name] = v
		f.StringVar(&v.address, p.name+"-address", "", "IP `ADDRESS` at which "+p.what)
		f.IntVar(&v.port, p.name+"-port", 0, "`PORT` at which "+p.what)
	}
}

// apply puts the flags that were given into the configuration.
func (a addressFlags) apply(f *pflag.FlagSet, c *config.Config) error {
	for _, p := range ports {
		at := p.in(c)
		if f.Changed(p.name + "-address") {
			if _, err := netip.ParseAddr(a[p.name].address); err != nil {
				return fmt.Errorf("--%s-address: %q is not an IP address", p.name, a[p.name].address)
			}
			at.Address = a[p.name].address
		}
		if f.Changed(p.name + "-port") {
			if port := a[p.name].port; port < 1 || port > 65535 {
				return fmt.Errorf("--%s-port: %d is not a port from 1 to 65535", p.name, port)
			}
			at.Port = a[p.name].port
		}
	}
	return nil
}
