package lab

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Record is one thing that a server was asked, as facts by name: "path",
// "host", "header x-version". A name may have several values. Names are lower
// case. What names there are, each server says.
type Record map[string][]string

// headers adds what a request carried.
func (r Record) headers(h http.Header) {
	for name, values := range h {
		r["header "+strings.ToLower(name)] = values
	}
}

// records are what a server was asked so far, oldest first.
type records struct {
	mu  sync.Mutex
	all []Record
}

// maxRecords bounds what a server remembers.
const maxRecords = 10_000

func (r *records) add(one Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) < maxRecords {
		r.all = append(r.all, one)
	}
}

// Records are what the server was asked so far, oldest first. The values may
// not be changed.
func (r *records) Records() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.all)
}
