//! The results of the windows before this one, which lie beside its own.
//!
//! ```text
//!   <monitor>/1793502000/report.json ─┐
//!   <monitor>/1793505600/report.json ─┼──> what happened over time
//!   <monitor>/1793509200/  (this window's folder: a window's end, in seconds)
//! ```
//!
//! A window is judged without them: what is missing, torn or of another format is left out and said in the log, and what
//! takes too long is not waited for.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use object_store::path::Path as StorePath;
use serde::Deserialize;
use tracing::{debug, warn};

use super::results::{FORMAT, Results};
use crate::address::Address;
use crate::report::chain;

/// What a window's results are called in its folder.
const FILE: &str = "report.json";
/// Results with more bytes are not read.
const LARGEST: usize = 64 << 20;
/// How many are read at once.
const AT_ONCE: usize = 4;
/// How long all of it may take.
const MOST: Duration = Duration::from_secs(30);

/// The results of the newest windows before the one that ended at `end` and whose own go into the folder `output`: so many
/// at most, the oldest first. Their distributions and segments are left out: of a thousand columns they would be most of
/// what there is to keep.
pub async fn read(output: &Address, end: Timestamp, most: usize) -> Vec<Results> {
    let mut read = Vec::new();
    let all = async {
        let ends = match ends(output).await {
            Ok(ends) => ends,
            Err(problem) => {
                let parent = output.sibling("");
                debug!("{}: {}", parent.uri(), chain(&problem));
                return;
            }
        };
        let mut before: Vec<i64> = ends
            .into_iter()
            .filter(|at| *at < end.as_second())
            .collect();
        before.sort_unstable();
        let newest = before.split_off(before.len().saturating_sub(most));
        // The newest first: they matter most where time runs out.
        let mut reports = stream::iter(newest.into_iter().rev())
            .map(|at| one(output.sibling(&at.to_string()).child(FILE), end))
            .buffered(AT_ONCE);
        while let Some(report) = reports.next().await {
            read.extend(report);
        }
    };
    let is_late = tokio::time::timeout(MOST, all).await.is_err();
    if is_late {
        warn!(
            "the results of earlier windows beside {} take more than {} s to read: {} of them are used",
            output.uri(),
            MOST.as_secs(),
            read.len()
        );
    }
    read.sort_by_key(|results: &Results| results.window.end);
    read
}

/// The ends of the windows that have a folder beside this one, in seconds.
async fn ends(output: &Address) -> Result<Vec<i64>, object_store::Error> {
    let mut parts: Vec<_> = output.path().parts().collect();
    parts.pop();
    let parent: StorePath = parts.into_iter().collect();
    let listed = output.store().list_with_delimiter(Some(&parent)).await?;
    let folders = listed.common_prefixes.iter();
    Ok(folders
        .filter_map(|folder| folder.filename()?.parse().ok())
        .collect())
}

/// Which version of the format a file is of.
#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    format: u32,
}

/// The results in a file, where they are such of a window before.
async fn one(address: Address, end: Timestamp) -> Option<Results> {
    let left_out = |why: &str| {
        warn!(
            "{} is left out of what happened over time: {why}",
            address.uri()
        );
        None
    };
    let content = match address.read_at_most(LARGEST).await {
        Ok(Some(content)) => content,
        Ok(None) => return left_out("it is too large"),
        Err(problem) => return left_out(&chain(&problem)),
    };
    let version: Version = match serde_json::from_slice(&content) {
        Ok(version) => version,
        Err(problem) => return left_out(&problem.to_string()),
    };
    if version.format != FORMAT {
        return left_out(&format!(
            "it is of format {}, and this program reads {FORMAT}",
            version.format
        ));
    }
    let mut results: Results = match serde_json::from_slice(&content) {
        Ok(results) => results,
        Err(problem) => return left_out(&problem.to_string()),
    };
    if results.window.end.is_none_or(|at| at >= end) {
        return left_out("it does not say that its window ended before this one");
    }
    for column in &mut results.columns {
        column.cells = Vec::new();
    }
    results.segments = Vec::new();
    Some(results)
}

#[cfg(test)]
mod tests {
    use super::super::html::tests::results;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    fn written(folder: &std::path::Path, name: &str, content: &str) {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(FILE), content).expect("a file");
    }

    fn window(folder: &std::path::Path, seconds: i64) {
        let mut results = results();
        results.window.end = Some(at(seconds));
        let content = serde_json::to_string(&results).expect("JSON");
        written(folder, &seconds.to_string(), &content);
    }

    fn found(read: &[Results]) -> Vec<i64> {
        let ends = read.iter().filter_map(|results| results.window.end);
        ends.map(Timestamp::as_second).collect()
    }

    #[tokio::test]
    async fn the_newest_windows_before_this_one_are_read_the_oldest_first() {
        let folder = tempfile::tempdir().expect("a folder");
        // The order of numbers is not that of their names.
        for seconds in [900, 1000, 1100, 1200, 1300] {
            window(folder.path(), seconds);
        }
        let output = Address::local("", &folder.path().join("1200")).expect("an address");
        let read_to = |most| read(&output, at(1200), most);
        assert_eq!(found(&read_to(60).await), [900, 1000, 1100]);
        assert_eq!(found(&read_to(2).await), [1000, 1100]);
        assert_eq!(found(&read_to(0).await), [0; 0]);
        let one = read_to(1).await.remove(0);
        assert!(one.columns.iter().all(|column| column.cells.is_empty()));
        assert!(!one.columns.is_empty() && one.segments.is_empty());
    }

    #[tokio::test]
    async fn what_is_no_result_of_an_earlier_window_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        window(folder.path(), 1000);
        let good = std::fs::read_to_string(folder.path().join("1000").join(FILE)).expect("there");
        written(folder.path(), "1010", &good[..good.len() / 2]);
        written(
            folder.path(),
            "1020",
            &good.replace("\"format\":1", "\"format\":2"),
        );
        written(
            folder.path(),
            "1030",
            "{\"verdict\": \"Healthy\", \"all\": []}",
        );
        written(folder.path(), "1040", "not JSON");
        written(folder.path(), "latest", &good);
        std::fs::create_dir(folder.path().join("1050")).expect("a folder");
        // It says that it is of a later window than its folder.
        let late = good.replace("1970-01-01T00:16:40Z", "1970-01-01T01:00:00Z");
        assert_ne!(late, good);
        written(folder.path(), "1060", &late);
        let output = Address::local("", &folder.path().join("2000")).expect("an address");
        assert_eq!(found(&read(&output, at(2000), 60).await), [1000]);
    }

    #[tokio::test]
    async fn where_nothing_lies_there_is_no_history() {
        let folder = tempfile::tempdir().expect("a folder");
        let nowhere = folder.path().join("not-there/2000");
        let output = Address::local("", &nowhere).expect("an address");
        assert_eq!(read(&output, at(2000), 60).await, []);
        let web = Address::parse("http://127.0.0.1:9/reports/2000").expect("an address");
        assert_eq!(read(&web, at(2000), 60).await, []);
    }
}
