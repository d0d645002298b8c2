package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"isoline.dev/isoline/lab"
)

// ownLog begins the lines that Envoy prints about itself.
var ownLog = regexp.MustCompile(`^\[[^]]*\]\[\d+\]\[`)

// logged are the facts of the last line in Envoy's access log: its members,
// where it is JSON, the line itself, and how many lines there are.
func (r *caseRig) logged() lab.Record {
	facts := lab.Record{}
	n := 0
	for line := range strings.Lines(r.envoy.Output()) {
		line = strings.TrimRight(line, "\n")
		if line == "" || ownLog.MatchString(line) || strings.Contains(line, markerName) {
			continue
		}
		n++
		facts = lab.Record{"line": {line}}
		members := map[string]any{}
		if json.Unmarshal([]byte(line), &members) == nil {
			for name, value := range members {
				facts[name] = []string{fmt.Sprint(value)}
			}
		}
	}
	facts["lines"] = []string{fmt.Sprint(n)}
	return facts
}

// checkLog compares the last line of the access log; Envoy writes it a while
// after the request.
func (w *caseWorld) checkLog(e *exchange) (wrong []error) {
	for _, x := range e.logged {
		deadline := time.Now().Add(sawPatience)
		x.exactly = w.expand(x.exactly)
		for {
			facts := w.rig.logged()
			err := x.met(facts[x.name])
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				wrong = append(wrong, fmt.Errorf("the access log: %w in %q", err, facts["line"]))
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return wrong
}
