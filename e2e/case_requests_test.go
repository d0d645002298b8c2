package e2e

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// exchange is one block of a requests file: a request and what comes of it,
// or something that is done to the servers.
type exchange struct {
	// text is the block as it is written.
	text string
	// let is what a server is told, pause how long nothing is done; then the
	// rest is empty.
	let   []string
	pause time.Duration

	// eventually says that the request is repeated until all is as it says.
	eventually bool
	method     string
	url        string
	times      int
	headers    [][2]string
	// with are options of how the request is sent.
	with map[string]string
	send []string
	// apart lies between the starts of the requests; below zero each waits for
	// the answer to the one before.
	apart time.Duration

	outcomes []outcome
	answer   []expectation // of headers, and of what is received
	took     [2]time.Duration
	saw      []sighting
	// envoy are pages of its admin interface: clusters, config_dump, stats.
	envoy  []expectation
	logged []expectation // of the access log's last line
}

// outcome is one way in which a request may be answered.
type outcome struct {
	// status is an HTTP or gRPC status, or "refused".
	status string
	// by are the servers that may have answered; empty for any, or none.
	by []string
	// same says that one of them has answered all.
	same bool
	// least and most bound how many of the requests are answered so.
	least, most int
}

// expectation says what a named thing is.
type expectation struct {
	name    string
	absent  bool
	exactly string
	like    *regexp.Regexp
}

// sighting is what a server saw of the request: so many requests, or one with
// the fact.
type sighting struct {
	server string
	checks bool // health checks, not requests
	// count and most bound how many requests; -1: not counted.
	count, most int
	fact        expectation
}

// parseExchanges reads a requests file. A block begins with a line that is
// not indented.
func parseExchanges(data string) ([]*exchange, error) {
	var all []*exchange
	for line := range strings.Lines(data) {
		line = strings.TrimRight(line, " \t\n")
		words := strings.TrimSpace(line)
		if words == "" || strings.HasPrefix(words, "#") {
			continue
		}
		var err error
		if words == line {
			e := &exchange{text: line, times: 1, with: map[string]string{}, apart: -1}
			all = append(all, e)
			err = e.begin(words)
		} else if len(all) == 0 || all[len(all)-1].method == "" {
			err = fmt.Errorf("it belongs to no request")
		} else {
			e := all[len(all)-1]
			e.text += "\n" + line
			err = e.detail(words)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	for _, e := range all {
		if e.method != "" && len(e.outcomes) == 0 {
			return nil, fmt.Errorf("%q: no => says how it is answered", e.text)
		}
	}
	return all, nil
}

// begin reads "[eventually] METHOD URL [xN] [=> OUTCOMES]", "let ..." and
// "pause DURATION".
func (e *exchange) begin(line string) (err error) {
	if rest, ok := strings.CutPrefix(line, "let "); ok {
		e.let = strings.Fields(rest)
		return nil
	}
	if rest, ok := strings.CutPrefix(line, "pause "); ok {
		e.pause, err = time.ParseDuration(rest)
		return err
	}
	line, e.eventually = strings.CutPrefix(line, "eventually ")
	request, outcomes, answered := strings.Cut(line, " => ")
	words := strings.Fields(request)
	if len(words) == 3 && strings.HasPrefix(words[2], "x") {
		if e.times, err = strconv.Atoi(words[2][1:]); err != nil {
			return err
		}
		words = words[:2]
	}
	if len(words) != 2 {
		return fmt.Errorf("want METHOD URL [xN] [=> OUTCOMES]")
	}
	e.method, e.url = words[0], words[1]
	if answered {
		return e.answered(outcomes)
	}
	return nil
}

// detail reads an indented line.
func (e *exchange) detail(line string) (err error) {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "=>":
		return e.answered(rest)
	case ">":
		name, value, ok := strings.Cut(rest, ":")
		if !ok {
			return fmt.Errorf("want > NAME: VALUE")
		}
		e.headers = append(e.headers, [2]string{name, strings.TrimSpace(value)})
	case "<":
		x, err := readExpectation(rest)
		if x.name = strings.ToLower(x.name); !strings.HasPrefix(x.name, "trailer ") {
			x.name = "header " + x.name
		}
		e.answer = append(e.answer, x)
		return err
	case "with":
		name, value, _ := strings.Cut(rest, " ")
		if !slices.Contains(withOptions, name) {
			return fmt.Errorf("there is no option %s; there are %s", name, strings.Join(withOptions, ", "))
		}
		e.with[name] = value
		if name == "together" {
			e.apart, err = time.ParseDuration(cmp.Or(value, "0s"))
			return err
		}
	case "send":
		e.send = append(e.send, rest)
	case "receive":
		x, err := readExpectation("body " + rest)
		if x.like == nil {
			x = expectation{name: "body", exactly: rest}
			err = nil
		}
		e.answer = append(e.answer, x)
		return err
	case "logged":
		x, err := readExpectation(rest)
		e.logged = append(e.logged, x)
		return err
	case "envoy":
		x, err := readExpectation(strings.TrimPrefix(rest, "has "))
		if e.envoy = append(e.envoy, x); err == nil && x.like == nil {
			err = fmt.Errorf("want envoy has PAGE ~ REGEX")
		}
		return err
	case "certificate":
		e.answer = append(e.answer, expectation{name: "certificate", exactly: rest})
	case "takes":
		from, to, ok := strings.Cut(rest, "..")
		if !ok {
			return fmt.Errorf("want takes FROM..TO")
		}
		for i, text := range []string{from, to} {
			if e.took[i], err = time.ParseDuration(text); err != nil {
				return err
			}
		}
	default:
		return e.sawLine(word, rest)
	}
	return nil
}

// withOptions are what "with" can name.
var withOptions = []string{"http/2", "tls", "sni", "certificate", "session", "proxy-protocol", "together"}

// answered reads "STATUS [[same] SERVER[|SERVER...]] [xN | xN..M], ...".
func (e *exchange) answered(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) == 0 {
			return fmt.Errorf("want => STATUS")
		}
		o := outcome{status: words[0], least: 1, most: e.times}
		if !strings.Contains(text, ",") {
			o.least = e.times
		}
		for _, word := range words[1:] {
			n, counted := strings.CutPrefix(word, "x")
			switch _, err := strconv.Atoi(n[:min(1, len(n))]); {
			case word == "same":
				o.same = true
			case counted && err == nil:
				from, to, ok := strings.Cut(n, "..")
				if !ok {
					to = from
				}
				if _, err := fmt.Sscan(from+" "+to, &o.least, &o.most); err != nil {
					return err
				}
			case o.by == nil:
				o.by = strings.Split(word, "|")
			default:
				return fmt.Errorf("%s: want STATUS [SERVER] [xN]", part)
			}
		}
		e.outcomes = append(e.outcomes, o)
	}
	return nil
}

// sawLine reads "SERVER saw N requests", or N..M, "SERVER saw FACT" and
// "SERVER was checked with FACT".
func (e *exchange) sawLine(server, rest string) error {
	s := sighting{server: server, count: -1}
	if fact, ok := strings.CutPrefix(rest, "was checked with "); ok {
		s.checks, rest = true, fact
	} else if rest, ok = strings.CutPrefix(rest, "saw "); !ok {
		return fmt.Errorf("it says nothing that is known")
	}
	words := strings.Fields(rest)
	if len(words) == 2 && strings.HasPrefix(words[1], "request") {
		least, most, between := strings.Cut(words[0], "..")
		if !between {
			most = least
		}
		e.saw = append(e.saw, s)
		_, err := fmt.Sscan(least+" "+most, &e.saw[len(e.saw)-1].count, &e.saw[len(e.saw)-1].most)
		return err
	}
	var err error
	s.fact, err = readExpectation(rest)
	e.saw = append(e.saw, s)
	return err
}

// readExpectation reads "NAME: VALUE", "NAME ~ REGEX" and "no NAME".
func readExpectation(text string) (expectation, error) {
	if name, ok := strings.CutPrefix(text, "no "); ok {
		return expectation{name: name, absent: true}, nil
	}
	tilde, colon := strings.Index(text, " ~ "), strings.Index(text, ":")
	if tilde >= 0 && (colon < 0 || tilde < colon) {
		like, err := regexp.Compile(text[tilde+3:])
		return expectation{name: text[:tilde], like: like}, err
	}
	if colon < 0 {
		return expectation{}, fmt.Errorf("want NAME: VALUE, NAME ~ REGEX or no NAME")
	}
	return expectation{name: text[:colon], exactly: strings.TrimSpace(text[colon+1:])}, nil
}

// met says what is wrong with the values of the named thing, if anything.
func (x expectation) met(values []string) error {
	switch {
	case x.absent && len(values) > 0:
		return fmt.Errorf("%s is %q, want none", x.name, values)
	case x.absent:
		return nil
	case x.like != nil && slices.ContainsFunc(values, x.like.MatchString):
		return nil
	case x.like != nil:
		return fmt.Errorf("%s is %q, want one like %s", x.name, values, x.like)
	case slices.Contains(values, x.exactly):
		return nil
	}
	return fmt.Errorf("%s is %q, want %q", x.name, values, x.exactly)
}
