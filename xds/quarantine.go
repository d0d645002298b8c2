package xds

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// standing is how a version of a resource fares with the Envoys. It exists
// while an entry has the version in what is desired or last good.
type standing struct {
	// users count by entry how often it has the version; most versions have one
	// user, which is kept in first.
	first     *entry
	firstUses int
	more      map[*entry]int
	// ackedBy are the first two different nodes that have taken the version.
	ackedBy [2]string
	// rejection is set while no Envoy is sent the version.
	rejection *Rejection
}

func (s *standing) use(e *entry, n int) {
	if s.first == nil || s.first == e {
		s.first, s.firstUses = e, s.firstUses+n
		if s.firstUses == 0 {
			s.first = nil
		}
		return
	}
	if s.more == nil {
		s.more = map[*entry]int{}
	}
	if s.more[e] += n; s.more[e] == 0 {
		delete(s.more, e)
	}
}

func (s *standing) unused() bool { return s.first == nil && len(s.more) == 0 }

// users are the entries that have the version, sorted.
func (s *standing) users() []*entry {
	var list []*entry
	if s.first != nil {
		list = append(list, s.first)
	}
	for e := range s.more {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int { return a.entryKey.compare(b.entryKey) })
	return list
}

// hold counts e as a user of all of u. The lock is held.
func (c *Cache) hold(e *entry, u *Unit) {
	for r := range u.resources {
		ed := r.edition()
		s := c.editions[ed]
		if s == nil {
			s = &standing{rejection: c.restored.rejected[ed]}
			c.editions[ed] = s
		}
		s.use(e, 1)
	}
}

// release undoes hold. A version that nothing uses is forgotten, and with it
// that it was rejected. The lock is held.
func (c *Cache) release(e *entry, u *Unit) {
	for r := range u.resources {
		ed := r.edition()
		s := c.editions[ed]
		if s.use(e, -1); s.unused() {
			delete(c.editions, ed)
		}
	}
}

// servable is what may be served of e. The lock is held.
func (c *Cache) servable(e *entry) *Unit {
	for _, u := range [2]*Unit{e.desired, e.good} {
		if u != nil && c.rejectedIn(u) == nil {
			return u
		}
	}
	return nil
}

// rejectedIn is why u cannot be served, or nil. The lock is held.
func (c *Cache) rejectedIn(u *Unit) *Rejection {
	for r := range u.resources {
		if s := c.editions[r.edition()]; s != nil && s.rejection != nil {
			return s.rejection
		}
	}
	return nil
}

// acked notes that a node has taken versions of resources.
func (c *Cache) acked(node string, list []edition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ed := range list {
		s := c.editions[ed]
		switch {
		case s == nil || s.ackedBy[0] == node:
		case s.ackedBy[0] == "":
			s.ackedBy[0] = node
		default:
			s.ackedBy[1] = node
		}
	}
}

// proven notes that a node has taken all of u: it becomes the last good.
func (c *Cache) proven(k entryKey, u *Unit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil || e.good == e.desired || u == nil || !u.equal(e.desired) || c.rejectedIn(u) != nil {
		return
	}
	c.hold(e, e.desired)
	c.release(e, e.good)
	e.good = e.desired
}

// goodOf is the last good of an entry that can be served, or nil.
func (c *Cache) goodOf(k entryKey) *Unit {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.entries[k]; e != nil && e.good != nil && c.rejectedIn(e.good) == nil {
		return e.good
	}
	return nil
}

// isRejected reports whether what is desired of an entry is rejected.
func (c *Cache) isRejected(k entryKey) *Rejection {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.entries[k]; e != nil && e.served != e.desired {
		return c.rejectedIn(e.desired)
	}
	return nil
}

// reject is told that node has refused a version which it was sent alone. If
// another node has taken it, it stays, and the node has to do without: that is
// for its stream to see to. Otherwise it is sent to nobody any more, and what
// uses it falls back. What is returned is to be told to the observer.
func (c *Cache) reject(ed edition, node, message string) []Rejection {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.editions[ed]
	if s == nil || s.rejection != nil {
		return nil // it is not wanted any more, or known to be bad
	}
	told := Rejection{TypeURL: typeURLs[ed.kind], Name: ed.name, Version: ed.version, Message: message, Node: node}
	users := s.users()
	if other := s.ackedBy[0]; other != "" && (other != node || s.ackedBy[1] != "") {
		return []Rejection{told.of(users, true)}
	}
	told.Everywhere = true
	s.rejection = &told
	var back, out []*entry
	changed := false
	for _, e := range users {
		before := e.served
		if e.good != nil && e.good != e.desired && c.rejectedIn(e.good) != nil {
			c.release(e, e.good)
			e.good = nil
		}
		if e.served = c.servable(e); e.served == before {
			continue
		}
		c.touch(e, c.seq+1)
		changed = true
		if e.served != nil {
			back = append(back, e)
		} else {
			out = append(out, e)
		}
	}
	if changed {
		c.advance()
	}
	var list []Rejection
	if len(back) > 0 {
		list = append(list, told.of(back, true))
	}
	if len(out) > 0 || len(list) == 0 {
		list = append(list, told.of(out, false))
	}
	return list
}

func (r Rejection) of(entries []*entry, fellBack bool) Rejection {
	r.FellBack = fellBack
	for _, e := range entries {
		if e.kind == unitKind {
			r.Units = append(r.Units, e.name)
		}
	}
	return r
}

// Rejections are the versions that are wanted and sent to no Envoy because one
// has refused them, sorted by type and name. Units are all that want them.
func (c *Cache) Rejections() []Rejection {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var list []Rejection
	for _, s := range c.editions {
		if s.rejection == nil {
			continue
		}
		r := s.rejection.of(s.users(), true)
		for _, e := range s.users() {
			r.FellBack = r.FellBack && e.served != nil
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Rejection) int {
		return cmp.Or(cmp.Compare(a.TypeURL, b.TypeURL), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return list
}

// restored is what Restore has read.
type restored struct {
	rejected map[edition]*Rejection
	good     map[entryKey]*Unit
}

// adopt gives a new entry the last good of an earlier run. The lock is held.
func (c *Cache) adopt(e *entry) {
	if good := c.restored.good[e.entryKey]; good != nil {
		e.good = good
		c.hold(e, good)
	}
}

// The kept quarantine. Bodies of messages are base64, as JSON has it.
type (
	keptQuarantine struct {
		Rejected []keptRejection `json:"rejected"`
		Good     []keptUnit      `json:"good"`
	}
	keptRejection struct {
		TypeURL string `json:"type"`
		Name    string `json:"name"`
		Version string `json:"version"`
		Message string `json:"message"`
		Node    string `json:"node"`
	}
	keptUnit struct {
		// Kind is the type of a resource outside units, empty for a unit.
		Kind      string         `json:"kind,omitempty"`
		Name      string         `json:"name"`
		Resources []keptResource `json:"resources"`
	}
	keptResource struct {
		TypeURL    string `json:"type"`
		Name       string `json:"name"`
		Body       []byte `json:"body"`
		Endpoints  string `json:"endpoints,omitempty"`
		SlowToWarm bool   `json:"slowToWarm,omitempty"`
	}
)

// Quarantine is what a later run needs in order to serve the same bytes: the
// rejected versions, and what is served in place of what wants them. It is
// JSON, and secrets are never in it: a rejected one is forgotten.
func (c *Cache) Quarantine() (json.RawMessage, error) {
	kept := keptQuarantine{Rejected: []keptRejection{}, Good: []keptUnit{}}
	for _, r := range c.Rejections() {
		if r.TypeURL != SecretType {
			kept.Rejected = append(kept.Rejected, keptRejection{r.TypeURL, r.Name, r.Version, r.Message, r.Node})
		}
	}
	c.mu.RLock()
	done := map[*entry]bool{}
	for ed, s := range c.editions {
		if s.rejection == nil || ed.kind == kindSecret {
			continue
		}
		for _, e := range s.users() {
			if !done[e] && e.served != nil && e.served != e.desired {
				kept.Good = append(kept.Good, keep(e))
			}
			done[e] = true
		}
	}
	c.mu.RUnlock()
	slices.SortFunc(kept.Good, func(a, b keptUnit) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return json.Marshal(kept)
}

func keep(e *entry) keptUnit {
	k := keptUnit{Name: e.name, Resources: []keptResource{}}
	if e.kind != unitKind {
		k.Kind = typeURLs[e.kind]
		k.Resources = append(k.Resources, keepResource(e.served.alone))
	}
	for _, cl := range e.served.Clusters {
		r := keepResource(cl.Resource)
		r.Endpoints, r.SlowToWarm = cl.Endpoints, cl.SlowToWarm
		k.Resources = append(k.Resources, r)
	}
	for r := range e.served.paths {
		k.Resources = append(k.Resources, keepResource(r))
	}
	return k
}

func keepResource(r *Resource) keptResource {
	return keptResource{TypeURL: r.TypeURL(), Name: r.Name(), Body: r.wire.Resource.Value}
}

// Restore takes what Quarantine of an earlier run returned. It is called once,
// before the first Apply. What nobody wants any more by the time of Open is
// dropped. After an error nothing is restored.
func (c *Cache) Restore(data json.RawMessage) error {
	var kept keptQuarantine
	if err := json.Unmarshal(data, &kept); err != nil {
		return fmt.Errorf("restore the quarantine: %w", err)
	}
	back := restored{rejected: map[edition]*Rejection{}, good: map[entryKey]*Unit{}}
	for _, r := range kept.Rejected {
		k, ok := kindOf(r.TypeURL)
		if !ok {
			return fmt.Errorf("restore the quarantine: %q is no type that is served", r.TypeURL)
		}
		back.rejected[edition{key{k, r.Name}, r.Version}] = &Rejection{
			TypeURL: r.TypeURL, Name: r.Name, Version: r.Version, Node: r.Node, Message: r.Message, Everywhere: true,
		}
	}
	for _, k := range kept.Good {
		at, u, err := k.unit()
		if err != nil {
			return fmt.Errorf("restore the quarantine: %q: %w", k.Name, err)
		}
		back.good[at] = u
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seq > 0 {
		return errors.New("restore the quarantine: something was applied before")
	}
	c.restored = back
	return nil
}

func (k keptUnit) unit() (entryKey, *Unit, error) {
	at, u := entryKey{unitKind, k.Name}, &Unit{Name: k.Name}
	if k.Kind != "" {
		of, ok := kindOf(k.Kind)
		if !ok || len(k.Resources) != 1 {
			return at, nil, fmt.Errorf("%q with %d resources is not a single resource", k.Kind, len(k.Resources))
		}
		at.kind = of
	}
	for _, kept := range k.Resources {
		of, _ := kindOf(kept.TypeURL)
		r, err := newResource(of, kept.Name, kept.Body)
		if err != nil {
			return at, nil, err
		}
		switch {
		case k.Kind != "":
			if of != at.kind || kept.Name != k.Name {
				return at, nil, fmt.Errorf("%s %q is another resource", of, kept.Name)
			}
			u.alone = r
		case of == kindCluster:
			u.Clusters = append(u.Clusters, &Cluster{r, kept.Endpoints, kept.SlowToWarm})
		case of == kindListener:
			u.Listeners = append(u.Listeners, r)
		case of == kindScope:
			u.Scopes = append(u.Scopes, r)
		case of == kindRoute:
			u.Routes = append(u.Routes, r)
		default:
			return at, nil, fmt.Errorf("a unit has no %s", of)
		}
	}
	return at, u, u.check(k.Name)
}

// words is a peer's text, fit for logs and pages: of at most n bytes, valid
// UTF-8, without control characters.
func words(s string, n int) string {
	s = strings.ToValidUTF8(s[:min(len(s), n)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}
