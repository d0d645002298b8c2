package dag

import (
	"maps"
	"slices"

	"isoline.dev/isoline/manifest"
)

// dep is one thing that a unit read: an object, or the claimants of a host.
type dep struct {
	object manifest.Key
	host   string
}

// reader is the only way in which a unit sees objects. It notes whatever is
// asked for, so that the unit is built again when the answer changes.
type reader struct {
	graph *Graph
	read  map[dep]struct{}
	count int
}

// object is the entry with the key, or nil where there is none that takes
// part.
func (r *reader) object(key manifest.Key) *entry {
	r.count++
	r.read[dep{object: key}] = struct{}{}
	if e := r.graph.entries[key]; e != nil && !e.ignored {
		return e
	}
	return nil
}

// claimants are the objects that claim the host, in the order of their keys.
func (r *reader) claimants(host string) []*entry {
	r.count++
	r.read[dep{host: host}] = struct{}{}
	keys := slices.SortedFunc(maps.Keys(r.graph.claims[host]), manifest.Key.Compare)
	all := make([]*entry, 0, len(keys))
	for _, key := range keys {
		if e := r.object(key); e != nil {
			all = append(all, e)
		}
	}
	return all
}
