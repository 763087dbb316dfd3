module github.com/nestor-platform/orchestrator/sdk/go

go 1.26
