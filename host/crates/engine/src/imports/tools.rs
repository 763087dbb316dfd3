//! The tools interface: what `tools` does, said in the contract's words.

use std::time::Duration;

use wasmtime::component::Resource;

use crate::bindings::nestor::engine::tools;
use crate::call::CallState;
use crate::metrics::TOOLS;
use crate::tools::{Child, Invocation, Line};

impl tools::Host for CallState {
    async fn spawn(
        &mut self,
        asked: tools::Invocation,
    ) -> wasmtime::Result<Result<Resource<Child>, String>> {
        let tool = asked.tool.clone();
        let known = self
            .grant
            .capabilities()
            .tools
            .iter()
            .any(|rule| rule.name == tool);
        let asked = Invocation {
            tool: asked.tool,
            args: asked.args,
            env: asked.env,
            directory: asked.directory,
            stdin: asked.stdin,
            timeout: Duration::from_millis(asked.timeout_ms.into()),
        };
        let started = self.toolbox.spawn(&self.engine, &self.grant, asked).await;
        // A name that no grant knows would let a guest fill the metrics.
        let label = if known { tool } else { "?".to_owned() };
        let result = if started.is_ok() {
            "started"
        } else {
            "refused"
        };
        metrics::counter!(TOOLS, "engine" => self.engine.to_string(), "tool" => label.clone(), "result" => result)
            .increment(1);
        match started {
            Ok(child) => {
                tracing::info!(target: "nestor_engine::audit", engine = %self.engine, tool = label, "tool started");
                Ok(Ok(self.table.push(child)?))
            }
            Err(reason) => {
                tracing::warn!(target: "nestor_engine::audit", engine = %self.engine, tool = label, reason, "tool refused");
                Ok(Err(reason))
            }
        }
    }
}

impl tools::HostChild for CallState {
    async fn next_line(&mut self, child: Resource<Child>) -> wasmtime::Result<Option<tools::Line>> {
        let line = self.table.get_mut(&child)?.next_line().await;
        Ok(line.map(|Line { stderr, text, .. }| tools::Line { stderr, text }))
    }

    async fn wait(
        &mut self,
        child: Resource<Child>,
    ) -> wasmtime::Result<Result<tools::Exit, String>> {
        let ended = self.table.get_mut(&child)?.wait().await;
        Ok(ended.map(|code| tools::Exit { code }))
    }

    async fn kill(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        self.table.get_mut(&child)?.kill();
        Ok(())
    }

    async fn drop(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        self.table.delete(child)?;
        Ok(())
    }
}
