package pipeline

import (
	"maps"
	"slices"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/xds"
)

// translate turns what the graph changed into what the Envoys are sent. The
// problems are by host. A host of which nothing can be translated is left out
// of the update: what it served before stays.
func translate(delta dag.Delta) (xds.Update, map[string][]problem.Problem) {
	u := xds.Update{Units: map[string]*xds.Unit{}, Endpoints: map[string]*xds.Resource{}}
	found := map[string][]problem.Problem{}
	for host, vh := range delta.Hosts {
		name := xds.UnitName(host)
		if vh == nil {
			u.Units[name] = nil
			continue
		}
		unit, problems := xds.Translate(vh, xds.Options{})
		if unit != nil {
			u.Units[name] = unit
		}
		if len(problems) > 0 {
			found[host] = problems
		}
	}
	for key, endpoints := range delta.Endpoints {
		if endpoints == nil {
			u.Endpoints[key.String()] = nil
			continue
		}
		r, problems := xds.TranslateEndpoints(endpoints)
		if r != nil {
			u.Endpoints[key.String()] = r
		}
		if len(problems) > 0 {
			found[""] = append(found[""], problems...)
		}
	}
	return u, found
}

// translate also remembers the problems of each host, for as long as the
// host stays as it is.
func (p *Pipeline) translate(delta dag.Delta) xds.Update {
	update, found := translate(delta)
	for _, host := range slices.Sorted(maps.Keys(delta.Hosts)) {
		delete(p.invalid, host)
		if len(found[host]) > 0 {
			p.invalid[host] = found[host]
		}
	}
	return update
}

// listeners are the listeners that the configuration asks for.
func listeners(c *config.Config) (map[string]*xds.Resource, error) {
	return xds.Listeners(xds.ListenerOptions{Address: c.Listeners.HTTP.Address, Port: uint32(c.Listeners.HTTP.Port)})
}
