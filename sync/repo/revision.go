package repo

import (
	"strings"
	"time"

	"isoline.dev/isoline/problem"
)

// Revision is one commit of a repository. It is a value; its files are read
// through the Repository it came from.
type Revision struct {
	// Repository is the normalised URL without anything secret.
	Repository string
	// Commit is the full commit id in hexadecimal digits.
	Commit string
	// Ref says what the commit was found as: "branch main", "tag v1.2.3".
	Ref string
	// TreeHash identifies what is below the readable root (config.Repo.Path):
	// two revisions with the same TreeHash have the same files there. It is
	// empty when the commit has no such directory; Files then says so.
	TreeHash string
	// Previous is the commit before; empty for the first fetch. Rewritten says
	// that Previous is not among the latest 1000 generations of this commit's
	// history: a force-push, a rewind, or another history altogether.
	Previous  string
	Rewritten bool
	// Subject is the first line of the commit's message, at most 200 bytes.
	Subject   string
	Author    string
	Committed time.Time
	// Problems are those of the fetch that are not in the way.
	Problems []problem.Problem

	repository *Repository
}

func subject(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	return printable(line, 200)
}

// printable cuts text to a number of bytes and drops what a terminal would
// act on.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.TrimSpace(s)
}
