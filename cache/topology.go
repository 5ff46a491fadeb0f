package cache

import "dmapath/sim"

// Topology says which cores are near each other: clusters, nodes of several clusters, sockets of several nodes. The zero value is one cluster:
// every line from another core takes Config.Peer, every hit of the LLC LLCConfig.Latency. With several clusters the LLC is theirs in equal
// parts, a line lies in the part of the cluster that put it there, and what comes from another cluster takes a hop longer.
type Topology struct {
	Clusters     int      // clusters, 1 to 32, a multiple of Nodes; 0 stands for 1
	Nodes        int      // nodes, a multiple of Sockets; 0 stands for 1
	Sockets      int      // 0 stands for 1
	ClusterCores int      // cores of a cluster: core c is one of cluster c/ClusterCores
	HopCluster   sim.Time // added to what comes from another cluster of the same node, request and answer together
	HopNode      sim.Time // from another node of the same socket
	HopSocket    sim.Time // from another socket
}

// MaxClusters bounds Topology.Clusters: a tag of the LLC has five bits for it.
const MaxClusters = 32

// ioCluster is where device requests enter the fabric.
const ioCluster = 0

// The cluster of a line in the LLC stands in bits that only private caches use otherwise: three for the level, two for the copies in L1.
const (
	partLow  = 2
	partHigh = 59
	partMask = 7<<partLow | 3<<partHigh
)

// partOf returns the cluster in tag t of the LLC.
func partOf(t uint64) uint8 { return uint8(t>>partLow&7 | t>>partHigh&3<<3) }

// partFlags returns the bits of a tag that say cluster c.
func partFlags(c uint8) uint64 { return uint64(c&7)<<partLow | uint64(c>>3)<<partHigh }

// layout is a Topology as accesses use it.
type layout struct {
	part []uint8 // of every core
	per  uint8   // clusters of a node
	hop  [MaxClusters][MaxClusters]sim.Time
}

func newLayout(t Topology, cores int) layout {
	l := layout{part: make([]uint8, cores)}
	n := max(t.Clusters, 1)
	node, socket := n/max(t.Nodes, 1), n/max(t.Sockets, 1)
	l.per = uint8(node)
	for c := range l.part {
		if t.ClusterCores > 0 {
			l.part[c] = uint8(c / t.ClusterCores % n)
		}
	}
	for a := range n {
		for b := range n {
			switch {
			case a/socket != b/socket:
				l.hop[a][b] = t.HopSocket
			case a/node != b/node:
				l.hop[a][b] = t.HopNode
			case a != b:
				l.hop[a][b] = t.HopCluster
			}
		}
	}
	return l
}

// between returns what a line takes longer from one core to another than within a cluster.
func (l *layout) between(from, to int) sim.Time {
	return l.hop[l.part[from]&(MaxClusters-1)][l.part[to]&(MaxClusters-1)]
}

// node returns the node of cluster c.
func (l *layout) node(c uint8) uint8 { return c / l.per }

// nodes returns what a line takes longer from one node to another than within one.
func (l *layout) nodes(from, to uint8) sim.Time {
	if from == to {
		return 0
	}
	return l.hop[from*l.per&(MaxClusters-1)][to*l.per&(MaxClusters-1)]
}

// fromLLC returns what a line of the LLC with tag t takes longer to cluster c than from the part of its own.
func (l *layout) fromLLC(t uint64, c uint8) sim.Time { return l.hop[partOf(t)][c&(MaxClusters-1)] }

// partBy returns the flags of a line that core puts into the LLC; of a device, if core is negative.
func (l *layout) partBy(core int) uint64 {
	if core < 0 {
		return partFlags(ioCluster)
	}
	return partFlags(l.part[core])
}
