//! The trainer's process: its output, its end, and being told to stop.
//!
//! ```text
//!   SIGTERM ──> agent ──SIGTERM──> trainer ──(its grace)──> SIGKILL to its process group
//! ```

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::{info, warn};
use windlass_api::agent::{FailureReason, FailureReport};

use super::interruption::Interruption;
use super::tail::{Tail, log_tail, pass_on};
use crate::report::failure;

/// How long output is awaited that a left-over process of the trainer may hold open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs the trainer to its end.
///
/// # Errors
/// [`FailureReason::TrainerNotStarted`], [`FailureReason::TrainerFailed`] with its exit code and last lines,
/// [`FailureReason::Interrupted`] when the agent was told to stop meanwhile, however the trainer ended then.
pub(super) async fn run(
    command: &[String],
    variables: &BTreeMap<String, String>,
    interruption: &mut Interruption,
) -> Result<(), FailureReport> {
    let mut child = start(command, variables)?;
    let tails = [(); 2].map(|()| Arc::new(Mutex::new(Tail::default())));
    let out = child.stdout.take().expect("it is piped");
    let err = child.stderr.take().expect("it is piped");
    let mut out = tokio::spawn(pass_on(out, tokio::io::stdout(), Arc::clone(&tails[0])));
    let mut err = tokio::spawn(pass_on(err, tokio::io::stderr(), Arc::clone(&tails[1])));
    let (status, is_interrupted) = wait(&mut child, interruption).await?;
    let _ = timeout(LAST_WORDS, async { tokio::join!(&mut out, &mut err) }).await;
    out.abort();
    err.abort();
    let [out, err] = tails
        .each_ref()
        .map(|tail| tail.lock().expect("no thread panics with it"));
    let log_tail = log_tail(&out, &err);
    drop((out, err));
    if is_interrupted {
        let how = described(status);
        let message =
            format!("the agent was told to stop while the trainer ran; the trainer then {how}");
        return Err(FailureReport {
            log_tail,
            ..failure(FailureReason::Interrupted, message)
        });
    }
    if status.success() {
        return Ok(());
    }
    let last = log_tail
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it printed nothing");
    let message = format!(
        "the trainer {}; its last line: {}",
        described(status),
        last.trim()
    );
    let exit_code = Some(exit_code(status));
    Err(FailureReport {
        reason: FailureReason::TrainerFailed,
        message,
        exit_code,
        log_tail,
        resumed: None,
    })
}

fn start(command: &[String], variables: &BTreeMap<String, String>) -> Result<Child, FailureReport> {
    let [program, arguments @ ..] = command else {
        return Err(failure(
            FailureReason::InvalidArguments,
            "there is no command to run",
        ));
    };
    Command::new(program)
        .args(arguments)
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: what it starts can be ended with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|problem| {
            let why = match problem.kind() {
                std::io::ErrorKind::NotFound => {
                    "there is no such program in this image, or the interpreter that its first line names is not there".to_owned()
                }
                std::io::ErrorKind::PermissionDenied => "it may not be executed by this user".to_owned(),
                _ => problem.to_string(),
            };
            failure(FailureReason::TrainerNotStarted, format!("the trainer '{program}' could not be started: {why}"))
        })
}

/// Waits for the end; passes on that it is time to stop, and makes an end after the grace period.
async fn wait(
    child: &mut Child,
    interruption: &mut Interruption,
) -> Result<(ExitStatus, bool), FailureReport> {
    let lost = |problem: std::io::Error| {
        failure(
            FailureReason::Internal,
            format!("the trainer's end was not seen: {problem}"),
        )
    };
    let id = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    tokio::select! {
        status = child.wait() => return Ok((status.map_err(lost)?, false)),
        _ = interruption.told_to_stop() => {}
    }
    info!("told to stop: passing it on to the trainer");
    if let Some(id) = id {
        // The trainer that has just ended needs no signal.
        let _ = kill_process(id, Signal::TERM);
    }
    let status = tokio::select! {
        status = child.wait() => Some(status.map_err(lost)?),
        () = interruption.patience_is_over() => None,
    };
    let status = if let Some(status) = status {
        status
    } else {
        warn!("the trainer has not ended in its grace period: killing it");
        child.start_kill().map_err(lost)?;
        child.wait().await.map_err(lost)?
    };
    if let Some(id) = id {
        let _ = kill_process_group(id, Signal::KILL);
    }
    Ok((status, true))
}

fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(9)) => {
            "was killed (signal 9); where nobody killed it, it was out of memory".to_owned()
        }
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The exit code as a shell has it: 128 and the signal's number for an end by a signal.
fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_a_signal_has_the_shells_exit_code() {
        let killed = ExitStatus::from_raw(9);
        assert_eq!(exit_code(killed), 137);
        assert!(described(killed).contains("out of memory"));
    }
}
