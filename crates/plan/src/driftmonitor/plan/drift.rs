//! Whether windows together are drift.

use windlass_api::agent::WindowVerdict;
use windlass_api::{TriggerCause, TriggerWhen, Window, WindowStatus};

use super::Reconcile;

/// Windows that together are drift.
#[derive(Clone, Debug)]
pub(super) struct Drift {
    pub cause: TriggerCause,
    /// Those that drifted, the newest first.
    pub windows: Vec<WindowStatus>,
    /// Whether the newest window that was judged is one of them.
    pub goes_on: bool,
}

impl Drift {
    /// The span of its windows.
    pub fn span(&self) -> Option<Window> {
        Some(Window {
            start: self.windows.iter().map(|window| window.start).min()?,
            end: self.windows.iter().map(|window| window.end).max()?,
        })
    }
}

fn is_judged(window: &WindowStatus) -> bool {
    window.verdict == WindowVerdict::Healthy || window.has_drifted()
}

/// The windows of a version since it serves, the newest first: what it was found in before another served in between counts no
/// more.
pub(super) fn since_it_serves<'a>(
    version: &'a str,
    windows: &'a [WindowStatus],
) -> impl Iterator<Item = &'a WindowStatus> {
    let newest = windows.iter().rev();
    newest.take_while(move |window| window.version == version)
}

/// Those that drifted, the newest first, of the last m that were judged of a version.
fn drifted(when: &TriggerWhen, version: &str, windows: &[WindowStatus]) -> Vec<WindowStatus> {
    since_it_serves(version, windows)
        .filter(|window| is_judged(window))
        .take(count(when.out_of.unwrap_or(when.windows)))
        .filter(|window| window.has_drifted())
        .cloned()
        .collect()
}

/// The same, where they are as many as are asked for.
pub(super) fn persists(
    when: &TriggerWhen,
    version: &str,
    windows: &[WindowStatus],
) -> Option<Vec<WindowStatus>> {
    let drifted = drifted(when, version, windows);
    (drifted.len() >= count(when.windows)).then_some(drifted)
}

fn count(windows: i32) -> usize {
    usize::try_from(windows).unwrap_or(1)
}

impl Reconcile<'_> {
    /// The windows that together are drift, all of the version that serves. A fall in performance is one by itself: the whole
    /// confidence interval of a window has shown it; what drifted shortly before it belongs to it.
    pub(super) fn drift(&self, serving: &str, windows: &[WindowStatus]) -> Option<Drift> {
        let when = &self.monitor.spec.trigger_when;
        let newest = since_it_serves(serving, windows).find(|window| is_judged(window))?;
        if newest.fallen {
            return Some(Drift {
                cause: TriggerCause::PerformanceFallen,
                windows: drifted(when, serving, windows),
                goes_on: true,
            });
        }
        Some(Drift {
            cause: TriggerCause::Drift,
            windows: persists(when, serving, windows)?,
            goes_on: newest.has_drifted(),
        })
    }
}
