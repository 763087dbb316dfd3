module example.com/guest

go 1.26

require github.com/nestor-platform/orchestrator/sdk/go v0.1.0

replace github.com/nestor-platform/orchestrator/sdk/go => ../../../go
