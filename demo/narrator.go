package demo

import (
	"fmt"
	"io"
)

// narrator writes what happens. Errors of the writer end nothing: a demo
// whose terminal is gone has nobody to tell.
type narrator struct {
	out   io.Writer
	color bool
}

func (n narrator) title(format string, args ...any) {
	n.write("\n", "1", fmt.Sprintf(format, args...))
}

func (n narrator) line(format string, args ...any) { n.write("  ", "", fmt.Sprintf(format, args...)) }

func (n narrator) proved(format string, args ...any) {
	n.write("  ✔ ", "32", fmt.Sprintf(format, args...))
}

func (n narrator) quote(format string, args ...any) {
	n.write("    | ", "33", fmt.Sprintf(format, args...))
}

func (n narrator) failed(err error) { n.write("  ✘ ", "31", err.Error()) }

func (n narrator) write(lead, style, text string) {
	if n.color && style != "" {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	_, _ = fmt.Fprintf(n.out, "%s%s\n", lead, text)
}
