package bench_test

import (
	"context"
	"fmt"

	"dmapath/bench"
	"dmapath/platform"
)

// A machine with its kernel, an experiment on it, and its results: what the command line does, as a program. The cycles themselves are
// in Outcome.Map and Unmap: Cycles.Mean(), Cycles.Quantile(0.99), and by kernel function in Acct.
func Example() {
	machine, err := platform.Load("icelake-sp")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := machine.Set("iommu.walkers", "2"); err != nil {
		fmt.Println(err)
		return
	}
	x := bench.Default()
	x.Workloads, x.Backends, x.Caches = []string{"nvme"}, []string{"iommu-strict"}, []string{"hot"}
	x.Variants = []string{"map_page@7.3", "map_phys@7.3"}
	x.Operations = 200
	c, err := bench.Compare(context.Background(), machine, x, 0, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	page, phys := c.Outcomes[0], c.Outcomes[1]
	fmt.Println(page.Variant, "and", phys.Variant, "on", c.Platform.Name)
	fmt.Println("I/Os:", page.IOs, phys.IOs)
	fmt.Println("map_phys costs less:", phys.Map.Cycles.Mean() < page.Map.Cycles.Mean())
	// Output:
	// map_page@7.3 and map_phys@7.3 on icelake-sp
	// I/Os: 200 200
	// map_phys costs less: true
}
