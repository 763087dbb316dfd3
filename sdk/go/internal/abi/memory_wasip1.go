package abi

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Allocate answers size bytes that the collector neither frees nor moves until
// pinner unpins them. size is a multiple of align, which is 1, 2, 4 or 8.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	p := allocate(size, align)
	if p != nil {
		pinner.Pin(p)
	}
	return p
}

func allocate(size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	switch align {
	case 1:
		return unsafe.Pointer(unsafe.SliceData(make([]uint8, size)))
	case 2:
		return unsafe.Pointer(unsafe.SliceData(make([]uint16, size/2)))
	case 4:
		return unsafe.Pointer(unsafe.SliceData(make([]uint32, size/4)))
	case 8:
		return unsafe.Pointer(unsafe.SliceData(make([]uint64, size/8)))
	default:
		panic(fmt.Sprintf("abi: alignment %d", align))
	}
}

// lowered holds what the host wrote into this memory and the bindings have not
// taken over yet. A reference is enough to keep it: Go's collector moves
// nothing. A runtime.Pinner takes a fiftieth of a small call.
var lowered []unsafe.Pointer

// Unpin hands what the host wrote over to the collector. The bindings call it
// when their own values point at it.
func Unpin() {
	clear(lowered)
	lowered = lowered[:0]
}

// realloc is where the host gets memory for strings and lists. It only ever
// asks for new memory: values are written once, with their size known.
//
// It runs after the engine was initialised, always: a component built by
// nestor-build is initialised when it is built, and the WASI adapter has
// memory of its own (see Arena). So it may use Go's allocator.
//
//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil || oldSize != 0 {
		panic("abi: the host asked to grow a value")
	}
	p := allocate((size+align-1)&^(align-1), align)
	lowered = append(lowered, p)
	return p
}

// arena is where the WASI adapter keeps its stack and state. It must not come
// from Go's allocator, because the adapter asks for it in the middle of a WASI
// call, on the runtime's own small stack; and not from memory.grow, because Go
// believes that it alone grows the memory. 256 KiB is four times what the
// adapter asks for (64 KiB of stack, 64 KiB of state).
var arena [256 << 10]byte

// The build calls these two, and gives the adapter a bump allocator between
// them.

//go:wasmexport nestor_arena_base
func arenaBase() uint32 { return uint32(uintptr(unsafe.Pointer(&arena[0]))) }

//go:wasmexport nestor_arena_size
func arenaSize() uint32 { return uint32(len(arena)) }

// Handle is a resource of the host's. Zero is none.
type Handle struct{ value int32 }

// MakeHandle takes over a handle.
func MakeHandle(value int32) *Handle {
	if value == 0 {
		panic("abi: a handle of zero")
	}
	return &Handle{value}
}

// Use answers the handle, which must not have been given away.
func (h *Handle) Use() int32 {
	if h.value == 0 {
		panic("abi: a handle used after it was closed")
	}
	return h.value
}

// Take gives the handle away.
func (h *Handle) Take() int32 {
	value := h.Use()
	h.value = 0
	return value
}

// Set puts a handle into an empty place.
func (h *Handle) Set(value int32) {
	if h.value != 0 {
		panic("abi: a handle over another")
	}
	h.value = value
}

// TakeOrNil gives the handle away, or zero when it was given away before.
func (h *Handle) TakeOrNil() int32 {
	value := h.value
	h.value = 0
	return value
}
