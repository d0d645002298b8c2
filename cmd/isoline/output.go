package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// output is the -o flag.
type output string

// formats are what -o takes.
var formats = []string{"text", "json"}

func (o *output) flag(cmd *cobra.Command) {
	*o = "text"
	cmd.Flags().VarP(o, "output", "o", "output format: "+strings.Join(formats, " or "))
}

func (o *output) json() bool { return *o == "json" }

// String, Set and Type make output a flag value.
func (o *output) String() string { return string(*o) }

func (o *output) Set(s string) error {
	if !slices.Contains(formats, s) {
		return fmt.Errorf("must be %s", strings.Join(formats, " or "))
	}
	*o = output(s)
	return nil
}

func (o *output) Type() string { return "format" }

// printJSON writes v indented, with HTML characters as they are.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
