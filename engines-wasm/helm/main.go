// Command helm is the helm engine: a component of Nestor's contract around
// Helm's own code.
package main

import (
	nestor "github.com/nestor-platform/orchestrator/sdk/go"

	"github.com/nestor-platform/orchestrator/engines-wasm/helm/internal/engine"
)

func init() {
	nestor.Register(engine.Engine{})
	nestor.Warm(engine.Warm)
}

func main() {}
