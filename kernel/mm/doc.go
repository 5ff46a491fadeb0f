// Package mm is the modelled kernel's memory management: slab caches, the page allocator's per-CPU lists.
package mm
