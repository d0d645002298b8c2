package xds

import (
	"time"
)

// Node is an Envoy that is connected, or was.
type Node struct {
	// ID and Cluster are what the Envoy calls itself; Version is its version.
	// All three are the peer's words, shortened and without control characters.
	ID, Cluster, Version string
	// Stream tells apart the streams of one node; it is unique in the process.
	Stream uint64
	// Since is when the stream was opened.
	Since time.Time
	// Served is as of when the node has acknowledged all that it is to have; zero
	// before it first had.
	Served Seq
	// Types are by type URL; types that the node has not asked for are missing.
	Types map[string]NodeType
}

// NodeType is what a node has of one type.
type NodeType struct {
	// Acked is how many resources the node has acknowledged and not lost since;
	// Pending is how many responses it has yet to answer.
	Acked, Pending int
	// LastAck and LastNack are zero before the first.
	LastAck, LastNack time.Time
	// LastError is the message of the last NACK: the peer's words, cleaned.
	LastError string
}

// Rejection says that an Envoy has refused a version of a resource, which was
// sent to it alone.
type Rejection struct {
	// Units are all affected, sorted; none for listeners, endpoints and secrets.
	Units   []string
	TypeURL string
	Name    string
	Version string
	// Message is the peer's words, shortened and without control characters.
	Message string
	// Node refused it.
	Node string
	// Everywhere says that the version is sent to no Envoy any more; otherwise
	// others have taken it before, and only Node does without.
	Everywhere bool
	// FellBack says that the units, or the resource, stay at their last good
	// version; otherwise there is none, and what has never been served is not.
	FellBack bool
}

// Observer is told what happens on the streams. Its methods are called from
// the streams' goroutines, several at once, and hold up the stream that calls;
// they hold no lock.
type Observer interface {
	// StreamOpened is called at the first request of a stream.
	StreamOpened(Node)
	// StreamClosed has the reason for which it ended.
	StreamClosed(Node, error)
	// Sent counts one response: its resources, removed names and size in bytes.
	Sent(node, typeURL string, resources, removed, bytes int)
	Acked(node, typeURL string, resources int)
	Nacked(node, typeURL, message string, names []string)
	// Rejected is called once for a quarantined version (units that fell back
	// and units that could not are two calls), and once for each node where a
	// version is frozen.
	Rejected(Rejection)
	// UnitServed says that the node has all of a unit as of seq: its clusters
	// are warm, its scopes and routes acknowledged. A unit that is gone is
	// served when the node has acknowledged that.
	UnitServed(unit string, seq Seq, node string)
}

// NopObserver ignores everything. Embed it to observe only some things.
type NopObserver struct{}

// StreamOpened does nothing.
func (NopObserver) StreamOpened(Node) {}

// StreamClosed does nothing.
func (NopObserver) StreamClosed(Node, error) {}

// Sent does nothing.
func (NopObserver) Sent(string, string, int, int, int) {}

// Acked does nothing.
func (NopObserver) Acked(string, string, int) {}

// Nacked does nothing.
func (NopObserver) Nacked(string, string, string, []string) {}

// Rejected does nothing.
func (NopObserver) Rejected(Rejection) {}

// UnitServed does nothing.
func (NopObserver) UnitServed(string, Seq, string) {}
