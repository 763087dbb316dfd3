package nestor

import (
	"runtime"
	"unsafe"
)

// A call pays for every page of memory that it writes to: the kernel copies it
// when it is first touched. A host that resets the pages by copying them back
// keeps them in place for the next call, but only as long as they are few runs
// of neighbours. What is here makes them few. A small rendering of the Helm
// engine writes to 386 pages in 149 runs otherwise.

// pageSize is the host's, on every machine that matters.
const pageSize = 4096

// maxHotRuns is how many runs of pages the build may name.
const maxHotRuns = 24

// hot are the runs of pages that calls write to, as the build found them.
var (
	hot     [maxHotRuns]struct{ first, count uint32 }
	hotRuns int
)

// rehearse does what calls do. The build runs it, sees which pages change, and
// throws that instance away.
//
//go:wasmexport nestor_rehearse
func rehearse() {
	for _, hook := range warmHooks {
		hook()
	}
}

// keepHot tells of one run of pages that rehearse changed.
//
//go:wasmexport nestor_keep_hot
func keepHot(first, count uint32) {
	hot[hotRuns].first, hot[hotRuns].count = first, count
	hotRuns++
}

// touchHot writes to every page of every run, and changes nothing: pages
// between those that a call needs become part of their run.
func touchHot() {
	self := unsafe.Pointer(&hot)
	for _, run := range hot[:hotRuns] {
		page := unsafe.Add(self, int(run.first)*pageSize-int(uintptr(self)))
		for range run.count {
			touch((*uint32)(page))
			page = unsafe.Add(page, pageSize)
		}
	}
}

// touch is not inlined, or the compiler would see that it does nothing.
//
//go:noinline
func touch(word *uint32) { *word ^= zero }

var zero uint32

// fillBlocks uses up what is left of the blocks that the allocator took for
// each size of value, so that a call's values lie in new ones, side by side,
// and not in the rest of a hundred old ones all over the memory.
func fillBlocks() {
	// Larger values are few.
	const largest = 2 << 10
	const word = unsafe.Sizeof(uintptr(0))
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	for _, class := range stats.BySize {
		size := uintptr(class.Size)
		if size < 16 || size > largest {
			continue
		}
		fill(size, 0, func() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(make([]byte, size))) })
		header := uintptr(0)
		if size > 512 {
			// Larger ones with pointers begin with a word of the allocator's.
			header = word
		}
		pointers := (size - header) / word
		fill(size, header, func() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(make([]unsafe.Pointer, pointers))) })
	}
}

// fill allocates until a value begins a block.
func fill(size, header uintptr, allocate func() unsafe.Pointer) {
	// The allocator's own page, the smallest block.
	const block = 8 << 10
	last := uintptr(allocate())
	for range block {
		next := uintptr(allocate())
		if next != last+size || (next-header)%block == 0 {
			return
		}
		last = next
	}
}
