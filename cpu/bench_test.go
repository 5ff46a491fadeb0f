package cpu

import (
	"testing"

	"dmapath/sim"
)

var benchFns = func() (f [12]*Func) {
	for i := range f {
		f[i] = NewFunc("bench", "bench_test.go", 400)
	}
	return f
}()

// kernelLike emits about n ops with the mix of the recorded map and unmap paths: 45 % ALU, 20 % loads, 13 % stores, 11 %
// conditional branches of which a tenth depend on data, calls 8 deep with pushes and pops.
func kernelLike(s *Stream, n int, seed uint64) {
	rnd := seed | 1
	random := func(k uint64) uint64 {
		rnd ^= rnd << 13
		rnd ^= rnd >> 7
		rnd ^= rnd << 17
		return rnd % k
	}
	var body func(level int)
	body = func(level int) {
		s.Call(benchFns[level])
		s.Nop(1)
		s.Push(3)
		v := Val(0)
		for b := range 4 {
			v = s.Load(data+uint64(level*8+b)*64, v)
			v = s.ALU(4, v)
			s.Branch(b&1 == 0, v)
			w := s.Load(data+random(256)*64, 0)
			s.ALU(3, w)
			s.StackStore(8, w)
			s.ALU2(v, w)
			s.Branch(random(16) == 0, w)
			s.Store(data+uint64(level)*64+1<<16, 0, w)
		}
		if level < 7 {
			body(level + 1)
		}
		s.Pop(3)
		s.Ret()
	}
	for len(s.Ops) < n {
		body(0)
	}
}

// BenchmarkCore reports the speed of the window on a kernel-like stream with everything in L1.
func BenchmarkCore(b *testing.B) {
	r := newRig(b)
	kernelLike(r.Stream, 1<<14, 1)
	ops := r.Ops
	now := r.c.Run(ops, sim.Microsecond, r.acct)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		now = r.c.Run(ops, now, r.acct)
	}
	b.ReportMetric(float64(b.N)*float64(len(ops))/b.Elapsed().Seconds()/1e6, "Mops/s")
	t := r.acct.Total()
	b.ReportMetric(float64(t.Instructions())/float64(t.Cycles), "simIPC")
	b.ReportMetric(float64(t.Mispredicts)/float64(t.Instructions())*1000, "simMPKI")
}

// BenchmarkCoreALU is the speed limit: ops that touch no memory.
func BenchmarkCoreALU(b *testing.B) {
	r := newRig(b)
	for len(r.Ops) < 1<<12 {
		r.ALU(16, 0)
	}
	ops := r.Ops
	now := r.c.Run(ops, sim.Microsecond, nil)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		now = r.c.Run(ops, now, nil)
	}
	b.ReportMetric(float64(b.N)*float64(len(ops))/b.Elapsed().Seconds()/1e6, "Mops/s")
}

// BenchmarkCoreL2 is BenchmarkCore with every eighth op a load from 512 KiB at random: most of those miss L1.
func BenchmarkCoreL2(b *testing.B) {
	r := newRig(b)
	rnd := uint64(1)
	for i := 0; len(r.Ops) < 1<<16; i++ {
		kernelLike(r.Stream, len(r.Ops)+1, uint64(i))
		for range 48 {
			rnd = rnd*6364136223846793005 + 1
			r.Load(data+(rnd>>40)%8192*64, 0)
		}
	}
	ops := r.Ops
	now := r.c.Run(ops, sim.Microsecond, r.acct)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		now = r.c.Run(ops, now, r.acct)
	}
	b.ReportMetric(float64(b.N)*float64(len(ops))/b.Elapsed().Seconds()/1e6, "Mops/s")
	t := r.acct.Total()
	b.ReportMetric(float64(t.Level[1])/float64(t.Level[0]+t.Level[1])*100, "%L2")
}

// BenchmarkDisturb is what one pass of other code costs the host.
func BenchmarkDisturb(b *testing.B) {
	r := newRig(b)
	b.ReportAllocs()
	for b.Loop() {
		r.c.DisturbBy(4000, 100, 1000)
	}
}
