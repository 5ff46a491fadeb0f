package iova

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
)

// recordedShape builds the tree that the recorder's device had: a reservation at the root, two small buffers and the
// anchor to its right.
func recordedShape(t *testing.T, arch kernel.Arch, v kernel.Version) *Domain {
	env := kernel.NewEnv(kernel.Config{Version: v, Arch: arch, CPUs: 2}, cache.NewMemory(), 1<<32)
	m := mm.New(env)
	d, err := New(Config{Env: env, Version: v, CPUs: 2, Shift: 12, VA: env.Slab(512, 64) + 8*uint64(1-v),
		Nodes: m.NewCache("iommu_iova", 40, 64), Magazines: m.NewCache("iommu_iova_magazine", 1024, 1024)})
	if err != nil {
		t.Fatal(err)
	}
	node := func(lo, hi uint64, red bool) *Node {
		n := d.newNodeForTest()
		n.Lo, n.Hi, n.red = lo, hi, red
		return n
	}
	join := func(p *Node, s int, c *Node) { p.child[s], c.parent = c, p }
	root := node(0xfee00, 0xfeeff, false)
	low := node(0xc0000, 0xfebff, false)
	a, b := node(0xfffff, 0xfffff, true), node(0xffffe, 0xffffe, false)
	join(root, left, low)
	join(root, right, a)
	join(a, left, b)
	join(a, right, &d.anchor)
	d.anchor.red = false
	d.tree.root = root
	d.cached32 = b
	return d
}

func (d *Domain) newNodeForTest() *Node {
	var n *Node
	boot(true, func(t *cpu.Thread) { n = d.newNode(t) })
	return n
}

// An allocation and a free of 2 MiB execute what was recorded on the same tree.
func TestTreePathsAgreeWithTheRecordings(t *testing.T) {
	for _, c := range []struct {
		v          kernel.Version
		alloc, del string
	}{
		{kernel.V6_12, "6.12/iommu-strict/map_page/2097152", "6.12/iommu-strict/unmap_page/2097152"},
		{kernel.V7_3, "7.3/iommu-strict/map_phys/2097152", "7.3/iommu-strict/unmap_phys/2097152"},
	} {
		d := recordedShape(t, kernel.X86_64, c.v)
		checkTree(t, d)
		var pfn uint64
		alloc := func(th *cpu.Thread) { pfn, _ = d.AllocFast(th, 0, 512, 0xfffff, false) }
		free := func(th *cpu.Thread) { d.FreeFast(th, 0, pfn, 512) }
		aops := recorded.RunWarm(func(th *cpu.Thread) { alloc(th); free(th) }, alloc)
		fops := recorded.Run(free)
		for _, n := range []string{"alloc_iova_fast", "alloc_iova", "rb_prev", "rb_insert_color"} {
			recorded.CheckFunction(t, aops, c.alloc, n, recorded.Exact)
		}
		for _, n := range []string{"free_iova_fast", "free_iova", "remove_iova", "rb_next", "rb_erase"} {
			recorded.CheckFunction(t, fops, c.del, n, recorded.Exact)
		}
	}
}
