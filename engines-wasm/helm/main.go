// Command helm is the helm engine: a component of Nestor's contract around
// Helm's own code.
package main

import (
	"runtime/debug"

	nestor "github.com/nestor-platform/orchestrator/sdk/go"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/engine"
)

// collectAt is how much memory a call uses before the garbage collector works.
// Few renderings use as much, and collecting takes up to a third of one; a call
// may use 512 MiB (engine.toml), of which the host's copies take some.
const collectAt = 320 << 20

func init() {
	debug.SetMemoryLimit(collectAt)
	// Not while the component is built either: a collection then leaves holes
	// all over the snapshot, and a call that fills them touches, and so copies,
	// half again as many pages. Measured: 5.2 ms a small rendering, against 6.3.
	debug.SetGCPercent(-1)
	nestor.Register(engine.Engine{})
	nestor.Warm(engine.Warm)
}

func main() {}
