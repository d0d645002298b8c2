package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"isoline.dev/isoline/pipeline"
	"isoline.dev/isoline/problem"
)

func newCheck() *cobra.Command {
	var in inputs
	var out output
	cmd := &cobra.Command{
		Use:   "check [-c FILE] [--manifests DIR]",
		Short: "Say what is wrong, with file and line, without serving anything",
		Args:  onlyFlags,
		Example: `  isoline check -c isoline.yaml
  isoline check --manifests routes/ -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := in.options()
			if err != nil {
				return err
			}
			built, err := pipeline.Load(cmd.Context(), opts)
			if err != nil {
				return err
			}
			report := built.Report()
			if out.json() {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				err = printReport(cmd.OutOrStdout(), report)
			}
			if err != nil {
				return err
			}
			if !report.OK {
				return errProblems
			}
			return nil
		},
	}
	in.flags(cmd)
	out.flag(cmd)
	return cmd
}

// printReport shows the problems first and then what is served.
func printReport(w io.Writer, r pipeline.Report) error {
	for _, p := range r.Problems {
		fmt.Fprintln(w, p)
	}
	if len(r.Problems) > 0 {
		fmt.Fprintln(w)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if len(r.Hosts) > 0 {
		fmt.Fprintln(t, "HOST\tSTATE\tROUTES\tOBJECT")
		for _, h := range r.Hosts {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", h.Host, h.State, h.Routes, h.Object)
		}
		fmt.Fprintln(t)
	}
	printInclusions(t, r.Objects)
	errors := problem.Errors(r.Problems)
	fmt.Fprintf(t, "%s, %s, %s, %s\n", count(len(r.Objects), "object"), count(len(r.Hosts), "host"),
		count(errors, "error"), count(len(r.Problems)-errors, "warning"))
	return t.Flush()
}

// count is "1 host" or "2 hosts".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// printInclusions shows which roots reach the HTTPProxies that are included.
func printInclusions(w io.Writer, objects []pipeline.ObjectReport) {
	shown := false
	for _, o := range objects {
		for _, i := range o.IncludedBy {
			if !shown {
				fmt.Fprintln(w, "CHILD\tHOST\tBELOW\tROOT")
				shown = true
			}
			below := strings.Join(append([]string{i.Prefix}, i.Conditions...), " ")
			fmt.Fprintf(w, "%s/%s\t%s\t%s\t%s/%s\n", o.Namespace, o.Name, i.Host, below, i.Root.Namespace, i.Root.Name)
		}
	}
	if shown {
		fmt.Fprintln(w)
	}
}
