package abi

import (
	"runtime"
	"runtime/debug"
	"unsafe"
)

// A call's values shall lie at low addresses: of the pages that a call wrote
// to, the host keeps the lowest for the next call, and Go allocates where it
// finds the lowest room. So room is made below everything that the program
// allocates while it starts, and given back when it has.
//
// Go gives memory back without a collection (which would leave holes all over)
// in one case, that of a large stack, when its goroutine ends.

const (
	// reservedFrame is what one call below takes; so many make a stack of
	// 2 MiB: three times what a small rendering of the Helm engine allocates.
	reservedFrame  = 64 << 10
	reservedFrames = 24

	// The allocator of blocks takes room for so many at once.
	block       = 8 << 10
	blocksAhead = 64
)

// noCollection is a percentage that no program reaches. It is not -1, by which an
// engine says that it wants no collection at all.
const noCollection = 1 << 20

var (
	reserved = make(chan struct{})
	// reservedEnd is an address near the upper end of the room.
	reservedEnd uintptr
	// used keeps a compiler from leaving an allocation out.
	used []byte
)

func init() {
	// A collection would shrink the stack below, and leave holes.
	debug.SetGCPercent(noCollection)
	grown := make(chan struct{})
	go func() {
		deepen(reservedFrames)
		close(grown)
		<-reserved
	}()
	<-grown
}

// deepen grows the stack of its goroutine; it stays as large while nothing is collected.
//
//go:noinline
func deepen(frames int) byte {
	var frame [reservedFrame]byte
	if frames > 0 {
		frame[frames] = deepen(frames - 1)
	} else {
		// The stack grows no more, and so stays where it is.
		reservedEnd = uintptr(unsafe.Pointer(&frame)) + reservedFrames*reservedFrame
	}
	return frame[0]
}

// Release gives the room back. The build calls it once.
func Release() {
	close(reserved)
	// On one thread, without preemption: the other goroutine runs to its end.
	runtime.Gosched()
	// What the allocator took ahead lies elsewhere; use it up.
	for range blocksAhead {
		used = make([]byte, block)
		if uintptr(unsafe.Pointer(&used[0])) < reservedEnd {
			return
		}
	}
}
