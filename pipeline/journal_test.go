package pipeline

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isoline.dev/isoline/dag"
)

func vhost(host string, routes int) *dag.VirtualHost {
	v := &dag.VirtualHost{Host: host}
	for i := range routes {
		v.Routes = append(v.Routes, dag.Route{Match: dag.Match{Path: dag.Path{Type: dag.PathExact, Value: fmt.Sprint("/", i)}},
			Action: dag.Action{DirectResponse: &dag.DirectResponse{StatusCode: 200, Body: "x"}}})
	}
	return v
}

func open(t *testing.T, dir string) *journal {
	t.Helper()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func write(t *testing.T, j *journal, changed map[string]*dag.VirtualHost) {
	t.Helper()
	if err := j.hosts(changed); err != nil {
		t.Fatal(err)
	}
}

// remembers checks what a later run, that only reads, would remember.
func remembers(t *testing.T, dir string, want map[string]*dag.VirtualHost, quarantine string) {
	t.Helper()
	j, err := readJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, j.memory); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	if string(j.blocked) != quarantine {
		t.Errorf("quarantine %q, want %q", j.blocked, quarantine)
	}
}

func TestTheJournalRemembersWhatWasServedWithoutBeingClosed(t *testing.T) {
	dir := t.TempDir()
	remembers(t, dir, map[string]*dag.VirtualHost{}, "")
	j := open(t, dir)
	write(t, j, map[string]*dag.VirtualHost{"a": vhost("a", 1), "b": vhost("b", 1)})
	write(t, j, map[string]*dag.VirtualHost{"a": vhost("a", 2), "b": nil})
	if err := j.quarantine(json.RawMessage(`{"x":1}`)); err != nil {
		t.Fatal(err)
	}
	want := map[string]*dag.VirtualHost{"a": vhost("a", 2)}
	remembers(t, dir, want, `{"x":1}`)
	again := open(t, dir)
	if diff := cmp.Diff(want, again.served()); diff != "" {
		t.Errorf("after reopening (-want +got):\n%s", diff)
	}
	write(t, again, map[string]*dag.VirtualHost{"c": vhost("c", 1)})
	want["c"] = vhost("c", 1)
	remembers(t, dir, want, `{"x":1}`)
}

func TestATornLineEndsTheMemoryAndNotTheProgram(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	write(t, j, map[string]*dag.VirtualHost{"a": vhost("a", 1)})
	write(t, j, map[string]*dag.VirtualHost{"b": vhost("b", 1)})
	body, err := os.ReadFile(j.path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(body) {
		if err := os.WriteFile(j.path, body[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		torn, err := readJournal(dir)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if _, ok := torn.memory["b"]; ok {
			t.Fatalf("cut at %d of %d, and the last record is there", cut, len(body))
		}
	}
}

func TestTheJournalStaysInProportionToTheHosts(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	for i := range 5 * slack {
		write(t, j, map[string]*dag.VirtualHost{"a": vhost("a", i%3)})
	}
	if j.lines > 2*slack {
		t.Errorf("%d lines for one host", j.lines)
	}
	remembers(t, dir, map[string]*dag.VirtualHost{"a": vhost("a", (5*slack-1)%3)}, "")
}

func TestNoJournalRemembersNothing(t *testing.T) {
	var j *journal
	if err := j.hosts(map[string]*dag.VirtualHost{"a": vhost("a", 1)}); err != nil {
		t.Error(err)
	}
	if j.served() != nil || j.close() != nil || j.quarantine(nil) != nil {
		t.Error("a journal that is not there does something")
	}
}
