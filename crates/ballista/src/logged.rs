//! Has what Ballista logs told where our programs tell theirs.
//!
//! Absent on purpose: `tracing-log`, which does it too, but has `log` built with another feature, and with it all that logs,
//! DataFusion among it: nothing of that could be shared with what the other workspace builds.

use log::{Level, LevelFilter, Log, Metadata, Record};
use tracing::{debug, error, info, warn};

struct Told;

impl Log for Told {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (from, said) = (record.target(), record.args());
        match record.level() {
            Level::Error => error!(target: "ballista", "{from}: {said}"),
            Level::Warn => warn!(target: "ballista", "{from}: {said}"),
            Level::Info => info!(target: "ballista", "{from}: {said}"),
            Level::Debug | Level::Trace => debug!(target: "ballista", "{from}: {said}"),
        }
    }

    fn flush(&self) {}
}

/// From now on.
pub fn told() {
    // Nobody else does it in this program.
    if log::set_logger(&Told).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
