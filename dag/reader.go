package dag

import (
	"maps"
	"slices"

	"isoline.dev/isoline/manifest"
)

// reader is the only way in which a unit sees objects. It notes whatever is
// asked for, so that the unit is built again when the answer changes.
type reader struct {
	graph *Graph
	read  map[manifest.Key]struct{}
	count int
}

// object is the entry with the key, or nil where there is none that takes
// part.
func (r *reader) object(key manifest.Key) *entry {
	r.count++
	r.read[key] = struct{}{}
	if e := r.graph.entries[key]; e != nil && !e.ignored {
		return e
	}
	return nil
}

// delegations are the TLSCertificateDelegations of a namespace, in the order
// of their names.
func (r *reader) delegations(namespace string) []*entry {
	r.read[anyDelegation(namespace)] = struct{}{}
	keys := slices.SortedFunc(maps.Keys(r.graph.delegations[namespace]), manifest.Key.Compare)
	all := make([]*entry, 0, len(keys))
	for _, key := range keys {
		all = append(all, r.graph.entries[key])
	}
	return all
}

// claimants are the objects that claim the host, in the order of their keys.
// A unit reads those of its own host alone, and is built again whenever they
// change, so this needs no note.
func (r *reader) claimants(host string) []*entry {
	keys := slices.SortedFunc(maps.Keys(r.graph.claims[host]), manifest.Key.Compare)
	all := make([]*entry, 0, len(keys))
	for _, key := range keys {
		if e := r.object(key); e != nil {
			all = append(all, e)
		}
	}
	return all
}
