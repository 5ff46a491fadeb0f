package cache

import (
	"math/rand/v2"
	"testing"

	"dmapath/sim"
)

// spread is a hierarchy of two sockets with two nodes of two cores each.
func spread() Config {
	c := bare(8)
	c.Topology = Topology{Clusters: 4, Nodes: 4, Sockets: 2, ClusterCores: 2, HopNode: 30 * sim.Nanosecond, HopSocket: 100 * sim.Nanosecond}
	return c
}

// distance is how much farther core b is from core a than a core of its node, said in words.
func distance(c Config, a, b int) sim.Time {
	switch {
	case a/2 == b/2:
		return 0
	case a/4 == b/4:
		return c.Topology.HopNode
	}
	return c.Topology.HopSocket
}

// Every way to get a line from another core or from its part of the LLC takes a hop longer for every step of distance, and not more.
func TestDistanceAddsOneHop(t *testing.T) {
	cfg := spread()
	for a := range 8 {
		for b := range 8 {
			if a == b {
				continue
			}
			far := distance(cfg, a, b)
			check := func(what string, got, want sim.Time) {
				t.Helper()
				if got != want {
					t.Errorf("%s, core %d for core %d: %v, want %v", what, a, b, got, want)
				}
			}
			h := build(t, cfg)
			write(h, a, 0, 0)
			done, _ := read(h, b, 0, 10*us)
			check("load of a dirty line", done-10*us, cfg.Peer+far)
			done, _ = write(h, b, 0, 20*us)
			check("upgrade", done-20*us, cfg.Peer+far)
			done, _ = write(h, a, 0, 30*us)
			check("store to another's line", done-30*us, cfg.Peer+far)

			h = build(t, cfg)
			write(h, a, 0, 0)
			for n, pa := 0, uint64(64); n < 3*cfg.L2.Ways; pa += 64 { // core a evicts it into its part of the LLC
				if h.cores[a].l2.set(pa) == h.cores[a].l2.set(0) {
					h.Load(a, pa, 1, us+sim.Time(n)*us)
					n++
				}
			}
			done, lvl := read(h, b, 0, 200*us)
			if lvl != LLC {
				t.Fatalf("from %v", lvl)
			}
			check("LLC hit", done-200*us, cfg.LLC.Latency+far)
		}
	}
}

// A shared line comes from the nearest core that has it, and leaves when the farthest has given it up.
func TestNearestSharerAnswers(t *testing.T) {
	cfg := spread()
	h := build(t, cfg)
	e := func(cores ...int) int {
		for _, c := range cores {
			h.dir.add(64, c, false)
		}
		return h.dir.find(64)
	}
	if d := h.nearest(e(7), 0); d != cfg.Topology.HopSocket {
		t.Errorf("from the other socket %v", d)
	}
	if d := h.nearest(e(7, 2), 0); d != cfg.Topology.HopNode {
		t.Errorf("from the next node %v", d)
	}
	if d := h.nearest(e(7, 2, 1), 0); d != 0 {
		t.Errorf("from the own node %v", d)
	}
	h = build(t, cfg)
	for _, c := range []int{0, 3, 6} {
		read(h, c, 0, sim.Time(c)*us)
	}
	if done, _ := write(h, 0, 0, 20*us); done != 20*us+cfg.Peer+cfg.Topology.HopSocket {
		t.Errorf("a store waits %v for three copies, want %v", done-20*us, cfg.Peer+cfg.Topology.HopSocket)
	}
}

// Devices enter at node 0.
func TestDeviceReadsFromAfar(t *testing.T) {
	cfg := spread()
	for c := range 8 {
		h := build(t, cfg)
		write(h, c, 0, 0)
		done, _ := h.DeviceRead(0, 64, 10*us)
		if want := cfg.IO.Latency + cfg.Peer - cfg.LLC.Latency + distance(cfg, c, 0); done-10*us != want {
			t.Errorf("core %d's line: %v, want %v", c, done-10*us, want)
		}
	}
}

// With hops of nothing, nodes change nothing.
func TestNodesWithoutDistanceAreOne(t *testing.T) {
	run := func(topo Topology) (times sim.Time, s Stats) {
		cfg := tiny(8, false, LRU)
		cfg.Topology = topo
		h := build(t, cfg)
		r := rand.New(rand.NewPCG(1, 2))
		now := sim.Time(0)
		for range 20000 {
			now += sim.Time(r.IntN(30000))
			c, pa := r.IntN(8), r.Uint64N(200)<<6
			var d sim.Time
			switch r.IntN(4) {
			case 0:
				d, _ = write(h, c, pa, now)
			case 1:
				d, _ = h.DeviceRead(pa, 64, now)
			default:
				d, _ = read(h, c, pa, now)
			}
			times += d - now
		}
		return times, h.Stats()
	}
	a, sa := run(Topology{})
	b, sb := run(Topology{Clusters: 4, Nodes: 4, Sockets: 2, ClusterCores: 2})
	if a != b || sa != sb {
		t.Errorf("%v and %v, %+v and %+v", a, b, sa, sb)
	}
	if c, _ := run(Topology{Clusters: 4, Nodes: 4, Sockets: 2, ClusterCores: 2, HopNode: 30 * sim.Nanosecond, HopSocket: 100 * sim.Nanosecond}); c <= a {
		t.Errorf("with hops %v, without %v", c, a)
	}
}
