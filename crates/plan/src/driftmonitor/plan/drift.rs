//! Whether windows together are drift.

use jiff::Timestamp;
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
    /// The end of the last window before them that is broken: where windows slide, they reach back into it.
    pub broken_until: Option<Timestamp>,
}

impl Drift {
    /// How many windows drifted, for a person.
    pub fn count(&self) -> String {
        match self.windows.len() {
            1 => "1 window".to_owned(),
            count => format!("{count} windows"),
        }
    }

    /// The span of its windows, without what is broken.
    pub fn span(&self) -> Option<Window> {
        let start = self.windows.iter().map(|window| window.start).min()?;
        Some(Window {
            start: start.max(self.broken_until.unwrap_or(Timestamp::MIN)),
            end: self.windows.iter().map(|window| window.end).max()?,
        })
    }
}

pub(super) fn is_judged(window: &WindowStatus) -> bool {
    window.verdict == WindowVerdict::Healthy || window.has_drifted()
}

/// Whether nothing may be trained on what is in it: it is broken, or nobody could read it.
fn is_broken(window: &WindowStatus) -> bool {
    matches!(
        window.verdict,
        WindowVerdict::DataBroken | WindowVerdict::Failed
    )
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

/// The same between two that are broken: what is trained on reaches from the first that drifted to the last, and none of it may
/// be broken. What comes after the last of them is not trained on.
fn intact<'a>(
    version: &'a str,
    windows: &'a [WindowStatus],
) -> impl Iterator<Item = &'a WindowStatus> {
    since_it_serves(version, windows)
        .skip_while(|window| is_broken(window))
        .take_while(|window| !is_broken(window))
}

/// Those that drifted, the newest first, of the last m that were judged of a version.
fn drifted(when: &TriggerWhen, version: &str, windows: &[WindowStatus]) -> Vec<WindowStatus> {
    intact(version, windows)
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
        let newest = intact(serving, windows).find(|window| is_judged(window))?;
        let newest_end = newest.end;
        let broken_until = since_it_serves(serving, windows)
            .filter(|window| is_broken(window) && window.end < newest_end)
            .map(|window| window.end)
            .max();
        if newest.fallen {
            return Some(Drift {
                cause: TriggerCause::PerformanceFallen,
                windows: drifted(when, serving, windows),
                goes_on: true,
                broken_until,
            });
        }
        Some(Drift {
            cause: TriggerCause::Drift,
            windows: persists(when, serving, windows)?,
            goes_on: newest.has_drifted(),
            broken_until,
        })
    }
}
