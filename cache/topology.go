package cache

import "dmapath/sim"

// Topology says which cores are near each other. The zero value is one node: every line from another core takes Config.Peer, every hit of
// the LLC LLCConfig.Latency. With several nodes the LLC is theirs in equal parts, a line lies in the part of the node that put it there, and
// what comes from another node takes a hop longer.
type Topology struct {
	Nodes     int      // nodes, 1 to 8; 0 stands for 1
	Sockets   int      // sockets, a divisor of Nodes; 0 stands for 1
	NodeCores int      // cores of a node: core c is one of node c/NodeCores
	HopNode   sim.Time // added to what comes from another node of the same socket, request and answer together
	HopSocket sim.Time // added to what comes from another socket
}

// MaxNodes bounds Topology.Nodes: a tag of the LLC has three bits for the node.
const MaxNodes = 8

// The node of a line in the LLC stands in the bits that private caches use for the level.
const nodeShift = 2

// ioNode is where device requests enter the fabric.
const ioNode = 0

// layout is a Topology as accesses use it.
type layout struct {
	node []uint8 // of every core
	hop  [MaxNodes][MaxNodes]sim.Time
}

func newLayout(t Topology, cores int) layout {
	l := layout{node: make([]uint8, cores)}
	n := max(t.Nodes, 1)
	per := n / max(t.Sockets, 1)
	for c := range l.node {
		if t.NodeCores > 0 {
			l.node[c] = uint8(c / t.NodeCores % n)
		}
	}
	for a := range n {
		for b := range n {
			switch {
			case a/per != b/per:
				l.hop[a][b] = t.HopSocket
			case a != b:
				l.hop[a][b] = t.HopNode
			}
		}
	}
	return l
}

// between returns what a line takes longer from one core to another than within a node.
func (l *layout) between(from, to int) sim.Time { return l.hop[l.node[from]&7][l.node[to]&7] }

// fromLLC returns what a line of the LLC with tag t takes longer to a core than from its own node's part.
func (l *layout) fromLLC(t uint64, core int) sim.Time {
	return l.hop[t>>nodeShift&7][l.node[core]&7]
}

// part returns the flags of a line that core puts into the LLC; of a device, if core is negative.
func (l *layout) part(core int) uint64 {
	if core < 0 {
		return ioNode << nodeShift
	}
	return uint64(l.node[core]) << nodeShift
}
