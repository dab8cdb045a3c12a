//! `windlass-proxy`: what `windlass-agent proxy` goes on as. It can do nothing else, and is a fraction of the agent's size.

use std::process::ExitCode;

use clap::Parser;
use windlass_agent::program::{self, To, quietly};
use windlass_agent::proxy;

/// Stands in front of a model server: measures it and logs payloads.
///
/// Its `--version` is the model's: the program's own is the agent's.
#[derive(Debug, Parser)]
#[command(name = "windlass-agent proxy")]
struct CommandLine {
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    proxy: proxy::Arguments,
}

fn main() -> ExitCode {
    program::log();
    let line: CommandLine = match program::parsed() {
        Ok(line) => line,
        Err(end) => return end,
    };
    let runtime = match program::runtime(&line.to) {
        Ok(runtime) => runtime,
        Err(end) => return end,
    };
    let outcome = runtime.block_on(proxy::run(line.proxy));
    runtime.shutdown_background();
    quietly(outcome)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_can_be_parsed() {
        CommandLine::command().debug_assert();
    }
}
