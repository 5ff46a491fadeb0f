// Package mm is the modelled kernel's memory management, as far as DMA mapping sees it: memory models with pfn_valid and
// the conversions between frame number, physical address, struct page and virtual address; slab caches; and the page
// allocator's per-CPU lists.
//
// # Memory models
//
// A MemoryMap says what lies where: RAM, reserved RAM, hot-plugged RAM, ZONE_DEVICE, MMIO, and holes in between.
// NewConfigured builds from it the tables that the kernel builds at boot and on hot-plug, with real entries in simulated
// memory: the array of root pointers, a root page per 32 GiB that has memory, a 16-byte struct mem_section per
// 128 MiB, and a struct mem_section_usage with its subsection bitmap for each present section (one array for boot memory, an
// object each for later memory). pfn_valid walks them, so its cost follows from the map: on a 16 GiB machine the
// words of all sections fill 32 lines, on a 1 TiB machine 2048, and a hot-plugged or device section costs two more lines.
//
// pfn_valid means that a frame has a struct page. It is true in the VGA hole (its section is early), true for P2PDMA
// memory, false for a BAR without pages. Three implementations exist (Lookup): the generic one, inlined; the one of
// arm64 before 5.16, which searches memblock.memory for boot memory; and the one of arm32, which scans it.
//
//	m, err := mm.NewConfigured(env, mm.Config{Map: mm.PCMap(1 << 40)})
//	page, v := m.PhysToPage(t, phys, 0)   // 4 instructions, one load of vmemmap_base
//	ok := m.PfnValid(t, phys>>12, v)      // 36 (6.12) or 44 (7.3) instructions, 3 dependent loads
//
// # Slab and pages
//
// A Cache is a kmem_cache: Alloc and Free run the real lists (6.12: per-CPU slab and freelist, per-CPU partial slabs,
// node list; 7.3: per-CPU sheaves, barn, node list) and hand out real addresses, so the object freed last comes back
// first, a burst of allocations runs out of the per-CPU stock after as many objects as in the kernel, and slabs come
// from AllocPages, whose per-CPU list is refilled in batches. Free lists start in the random order that
// SLAB_FREELIST_RANDOM gives, from a random stream per cache.
//
// # What is checked, and what is not in the recordings
//
// Equal to the recordings in instructions, loads, stores and branches: pfn_valid in six situations and all conversions,
// both versions and architectures; kmem_cache_alloc, kmem_cache_free, memset_orig (arm64: __memset), and on x86-64 ___slab_alloc with
// a partial slab, which with everything below is x86-64 code on arm64 too. Within 3 to 5 %:
// the slow paths of sheaves, new slabs, and page allocation. Written from the source without a recording: __slab_free,
// node lists of 6.12, full sheaves, flushing, free_unref_page, refilling of per-CPU page lists, subsection bitmaps, FLATMEM,
// classic SPARSEMEM, memblock lookups.
//
// Left out: NUMA nodes beyond the first, memory cgroups, KASAN and slab debugging, RCU-deferred frees, returning pages
// from per-CPU lists to the buddy allocator, and fragmentation: a page list that runs dry gets fresh pages in ascending
// order. Without VMEMMAP the arrays of struct pages are taken to lie where the virtual map would put them. The
// memblock lookups of ARM and the other memory models are emitted in one shape for all architectures: a load-store loop, not what a compiler made.
package mm
