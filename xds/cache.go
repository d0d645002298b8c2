package xds

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
)

// Seq counts the changes of a cache.
type Seq uint64

// Update is a set of changes that take effect together. A nil value removes.
// What is not mentioned stays.
type Update struct {
	Units map[string]*Unit
	// Endpoints are ClusterLoadAssignments by name.
	Endpoints map[string]*Resource
	// Secrets belong to no unit.
	Secrets map[string]*Resource
}

// Cache holds what every Envoy should have. It is safe for concurrent use.
//
// Entries are kept in the order of their last change, each once. A stream
// remembers the Seq that it has seen and walks back from the newest entry to
// there: the cost of a change depends on what changed, not on how much there
// is, and a stream that is slow meets every entry once, in its newest state.
type Cache struct {
	opened  chan struct{}
	opening sync.Once

	mu      sync.RWMutex
	seq     Seq
	entries map[entryKey]*entry
	// log is the sentinel of the ring of entries, oldest change first.
	log entry
	// gone counts the entries in the log that only say that something is gone.
	gone     int
	editions map[edition]*standing
	watchers map[*watcher]struct{}
	// keepUnknown is set while Envoys keep what the cache knows nothing of.
	keepUnknown bool
	// restored is the quarantine of an earlier run, until Open.
	restored restored
}

// entryKey names an entry: a unit, or a resource that belongs to none.
type entryKey struct {
	kind kind // unitKind for a unit
	name string
}

const unitKind = kinds

// entry is a unit or a single resource, with what is served of it.
type entry struct {
	entryKey
	seq        Seq
	prev, next *entry
	// desired is what was applied last, nil when it is gone. good is what an
	// Envoy has acknowledged in whole, possibly nil. served is desired, or good
	// while part of desired is rejected; nil where that cannot be either.
	desired, good, served *Unit
}

// change is what a stream is told of an entry.
type change struct {
	entryKey
	seq             Seq
	desired, served *Unit
}

// watcher is a stream's place in the log.
type watcher struct {
	seen atomic.Uint64 // a Seq; written by the stream alone
	// wake has room for one: it is filled when there is something new.
	wake chan struct{}
	// keep mirrors keepUnknown.
	keep atomic.Bool
}

// NewCache returns an empty cache, which is not open yet.
func NewCache() *Cache {
	c := &Cache{
		opened:   make(chan struct{}),
		entries:  map[entryKey]*entry{},
		editions: map[edition]*standing{},
		watchers: map[*watcher]struct{}{},
	}
	c.log.prev, c.log.next = &c.log, &c.log
	return c
}

// Open says that every source is known, so that Envoys may be served. Streams
// that come before are refused, and lose nothing of what they hold.
func (c *Cache) Open() {
	c.opening.Do(func() {
		c.mu.Lock()
		c.restored = restored{}
		c.mu.Unlock()
		close(c.opened)
	})
}

// Seq is that of the newest change.
func (c *Cache) Seq() Seq {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.seq
}

// IsOpen reports whether Open was called.
func (c *Cache) IsOpen() bool {
	select {
	case <-c.opened:
		return true
	default:
		return false
	}
}

// KeepUnknown lets Envoys that connect with a configuration keep of it what
// this cache has never heard of: a source is missing, and what it wants served
// is unknown. It holds until DropUnknown.
func (c *Cache) KeepUnknown() { c.setKeepUnknown(true) }

// DropUnknown ends KeepUnknown: every source is known after all, and what was
// kept is removed.
func (c *Cache) DropUnknown() { c.setKeepUnknown(false) }

func (c *Cache) setKeepUnknown(keep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keepUnknown = keep
	for w := range c.watchers {
		w.keep.Store(keep)
		w.notify()
	}
}

// Apply takes a set of changes into effect and returns the Seq from which on
// they are visible. An update that changes nothing returns the Seq as it is.
//
// It panics on a unit or resource that is not of the shape its documentation
// demands, or under another name: such a thing could not even be withdrawn.
func (c *Cache) Apply(u Update) Seq {
	next := contents(u)
	keys := slices.SortedFunc(maps.Keys(next), entryKey.compare)
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := false
	for _, k := range keys {
		if c.set(k, next[k], c.seq+1) {
			changed = true
		}
	}
	if changed {
		c.advance()
	}
	return c.seq
}

// contents are all changes of an update, in one form.
func contents(u Update) map[entryKey]*Unit {
	all := make(map[entryKey]*Unit, len(u.Units)+len(u.Endpoints)+len(u.Secrets))
	for name, unit := range u.Units {
		if unit != nil {
			if err := unit.check(name); err != nil {
				panic(err)
			}
		}
		all[entryKey{unitKind, name}] = unit
	}
	for k, list := range map[kind]map[string]*Resource{kindEndpoints: u.Endpoints, kindSecret: u.Secrets} {
		for name, r := range list {
			var unit *Unit
			if r != nil {
				unit = single(k, name, r)
			}
			all[entryKey{k, name}] = unit
		}
	}
	return all
}

// advance makes the changes made at seq+1 visible. The lock is held.
func (c *Cache) advance() {
	c.seq++
	c.prune()
	for w := range c.watchers {
		w.notify()
	}
}

// set makes desired what is wanted under k and reports whether that changes
// anything. The lock is held.
func (c *Cache) set(k entryKey, desired *Unit, at Seq) bool {
	e := c.entries[k]
	switch {
	case e == nil && desired == nil:
		return false
	case e == nil:
		e = &entry{entryKey: k}
		c.entries[k] = e
		c.adopt(e)
	case e.desired.equal(desired):
		return false
	}
	c.hold(e, desired)
	c.release(e, e.desired)
	e.desired = desired
	if desired == nil { // withdrawn, and never to come back as last good
		c.release(e, e.good)
		e.good = nil
		delete(c.entries, k)
		c.gone++
	}
	e.served = c.servable(e)
	c.touch(e, at)
	return true
}

// touch puts e at the end of the log. The lock is held.
func (c *Cache) touch(e *entry, at Seq) {
	e.unlink()
	e.seq = at
	e.prev, e.next = c.log.prev, &c.log
	e.prev.next, c.log.prev = e, e
}

func (e *entry) unlink() {
	if e.next != nil {
		e.prev.next, e.next.prev = e.next, e.prev
	}
}

// prune forgets what is gone and known to be gone by every stream. It does so
// rarely enough to cost nothing on average. The lock is held.
func (c *Cache) prune() {
	if c.gone < 1024 || c.gone < len(c.entries)/4 {
		return
	}
	oldest := c.seq
	for w := range c.watchers {
		oldest = min(oldest, Seq(w.seen.Load()))
	}
	for e := c.log.next; e != &c.log && e.seq <= oldest; {
		next := e.next
		if e.desired == nil {
			e.unlink()
			c.gone--
		}
		e = next
	}
}

// watch starts at the beginning: the first look at the changes is all there is.
func (c *Cache) watch() *watcher {
	w := &watcher{wake: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[w] = struct{}{}
	w.keep.Store(c.keepUnknown)
	return w
}

func (c *Cache) unwatch(w *watcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watchers, w)
}

func (w *watcher) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// changes are the entries that changed since the watcher looked last, oldest
// change first, and the Seq up to which that is all. The first look tells of
// what is gone too: a stream may have found it by name before.
func (c *Cache) changes(w *watcher) ([]change, Seq) {
	seen := Seq(w.seen.Load())
	var list []change
	c.mu.RLock()
	for e := c.log.prev; e != &c.log && e.seq > seen; e = e.prev {
		list = append(list, change{e.entryKey, e.seq, e.desired, e.served})
	}
	now := c.seq
	c.mu.RUnlock()
	w.seen.Store(uint64(now))
	slices.Reverse(list)
	return list, now
}

// find returns what is served under a name of a kind outside units, and
// whether there is to be anything.
func (c *Cache) find(k kind, name string) (served *Unit, exists bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.entries[entryKey{k, name}]; e != nil {
		return e.served, true
	}
	return nil, false
}

// Resources is everything that is served, sorted by type and name. Rejected
// versions are not in it.
func (c *Cache) Resources() []*Resource {
	all := map[key]*Resource{}
	c.mu.RLock()
	for e := c.log.next; e != &c.log; e = e.next {
		for r := range e.served.resources {
			all[r.edition().key] = r
		}
	}
	c.mu.RUnlock()
	return slices.SortedFunc(maps.Values(all), func(a, b *Resource) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.Name(), b.Name()))
	})
}

// Dump is everything that is served, as the JSON of `isoline xds`, secrets
// redacted.
func (c *Cache) Dump() ([]byte, error) {
	var messages []proto.Message
	for _, r := range c.Resources() {
		m, err := r.Message()
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return dumpMessages(messages)
}

func (k entryKey) compare(o entryKey) int {
	return cmp.Or(cmp.Compare(k.kind, o.kind), cmp.Compare(k.name, o.name))
}
