//! `windlass-agent drift`: compares a window of traffic, or any data, with a reference.
//!
//! ```text
//!   profile (JSON), or data ──> Side ──────────────────────────────┐
//!   payload log, or data ──reading──> sketches ──beside it──> Side ─┼─> compare (columns) ─┐
//!                                                                  └─> findings (data) ───┼─> verdict ──> Results
//!   labels ──joined on request_id──> metric with interval ────────────────────────────────┘      └─> DriftReport, HTML, table
//! ```
//!
//! A window is compared with the reference's rows of its own season ([`seasons`]), where these are known and enough, and as far
//! as the reference's own windows lie from each other ([`own`]).
//!
//! No data, too few data and broken data are verdicts of their own, never "no drift".
//!
//! Absent on purpose: what follows from a verdict (the operator's), and persistence over windows.

mod arguments;
mod compare;
mod expected;
mod findings;
pub mod history;
pub mod html;
mod kinds;
mod own;
mod parts;
pub(crate) mod payloads;
mod performance;
pub mod results;
mod saying;
mod seasons;
mod sides;
pub mod table;
mod verdict;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tracing::info;
use windlass_api::agent::{FailureReason, FailureReport, Profile, Report};

pub use self::arguments::Arguments;
use self::compare::{LeftOut, compare};
use self::findings::Findings;
use self::own::OwnWindows;
use self::results::{ComparedWith, FORMAT, Judged, Results, Segment, Settings};
use self::seasons::{Season, Span};
use self::sides::Side;
use crate::address::Address;
use crate::arguments::DataFormat;
use crate::data::file;
use crate::data::scan::no_column;
use crate::profile::reading::{Asking, Reading, Told};
use crate::profile::sketch::Roles;
use crate::profile::{self, REASONS, write_json};
use crate::progress::Progress;
use crate::report::{OrFail, failure};

/// The payload log's columns with the time of a request, and with its id.
pub(crate) const TIME: &str = "timestamp";
pub(crate) const REQUEST_ID: &str = "request_id";

/// How many windows before this one a page shows.
const MOST_WINDOWS: usize = 60;

/// Runs the command for a program: a window of a payload log against a profile.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let window = arguments.window()?;
    let output = arguments.output.as_deref().map(Address::parse);
    let output = output
        .transpose()
        .or_fail(FailureReason::InvalidArguments)?;
    let reference = profile::read(&window.reference, arguments.reference_digest.as_deref()).await?;
    let payloads = Address::parse(&window.payloads).or_fail(FailureReason::InvalidArguments)?;
    let folder = payloads.child(&window.version);
    let reading = payloads::open(&folder, window.start, window.end).await?;
    let counted_by = &arguments.engine.counted_by;
    let reading = reading.map(|reading| reading.counted_by(counted_by.clone()));
    let judged = Judged {
        name: window.version.clone(),
        digest: None,
        start: Some(window.start),
        end: Some(window.end),
        rows: 0,
        effective_rows: 0.0,
    };
    let roles = Roles {
        time: Some(TIME.to_owned()),
        unit: arguments.unit.clone(),
        id: Some(REQUEST_ID.to_owned()),
        is_by_time: false,
    };
    let asking = Asking {
        within: Some((window.start, window.end)),
        roles,
        ..Asking::default()
    };
    let of_reference = Judged {
        name: window.reference.clone(),
        digest: arguments.reference_digest.clone(),
        ..Judged::default()
    };
    let mut results = judge(
        &arguments,
        (&reference, of_reference),
        judged,
        reading.as_ref(),
        asking,
    )
    .await?;
    let history = match &output {
        Some(output) => history::read(output, window.end, MOST_WINDOWS).await,
        None => Vec::new(),
    };
    results
        .findings
        .extend(findings::volume(&arguments.quality, &results, &history));
    if results.window.rows >= arguments.least_rows() && !is_broken(&results) {
        let measured = performance::measure(&arguments, reading.as_ref(), &window).await?;
        if let Some(measured) = measured {
            results.performance = Some(measured.whole);
            for (segment, of) in results.segments.iter_mut().zip(measured.segments) {
                verdict::settle_segment(&arguments, segment, of);
            }
        }
    }
    verdict::settle(&arguments, &mut results);
    info!(verdict = ?results.verdict, rows = results.window.rows, "{}", results.message);
    let mut report = results.short();
    if let Some(output) = output {
        report.report = Some(write_json(&output.child("report.json"), &results).await?);
        let page = html::html(&results, &history);
        let page = output.child("report.html").write(Bytes::from(page)).await;
        page.or_fail(FailureReason::OutputNotWritten)?;
    }
    Ok(Report::Drift(report))
}

/// Writes the page of what was found by hand, where one was asked for.
///
/// # Errors
/// [`FailureReason::OutputNotWritten`].
pub async fn write_page(arguments: &Arguments, results: &Results) -> Result<(), FailureReport> {
    let Some(page) = &arguments.html else {
        return Ok(());
    };
    let to = Address::parse(page).or_fail(FailureReason::InvalidArguments)?;
    let written = to.write(Bytes::from(html::html(results, &[]))).await;
    written.or_fail(FailureReason::OutputNotWritten)
}

fn is_broken(results: &Results) -> bool {
    results.findings.iter().any(|found| found.breaks)
}

/// Runs the command for a person: two data sets, or profiles that were made of them.
pub async fn by_hand(arguments: &Arguments) -> Result<Results, FailureReport> {
    arguments.validate()?;
    let [reference, current] = arguments.data.as_slice() else {
        let message = "name two data sets: the reference and the one to compare with it";
        return Err(failure(FailureReason::InvalidArguments, message));
    };
    let roles = Roles {
        time: arguments.time.clone(),
        unit: arguments.unit.clone(),
        id: arguments.id.clone(),
        is_by_time: false,
    };
    let named = |uri: &str| Judged {
        name: uri.to_owned(),
        ..Judged::default()
    };
    let window = if is_profile(arguments, current) {
        let window = profile::read(current, None).await?;
        kinds::check(arguments, &window, current)?;
        Some(window)
    } else {
        None
    };
    let profile = if is_profile(arguments, reference) {
        let profile = profile::read(reference, None).await?;
        kinds::check(arguments, &profile, reference)?;
        profile
    } else {
        let reading = opened(arguments, reference).await?;
        check_roles(&reading, &roles, reference)?;
        let roles = Roles {
            is_by_time: true,
            ..roles.clone()
        };
        let kinds = kinds::of(arguments, window.as_ref(), reading.schema());
        let asked = profile::asked(&reading, &arguments.columns, &kinds, &roles).await?;
        profile::made(&reading, asked, roles, arguments.segments.clone()).await?
    };
    let of_reference = named(reference);
    if let Some(window) = window {
        let there = window.columns.iter().map(|column| column.name.clone());
        let segments = window.segments.iter();
        let segments = segments.map(|of| (of.segment.clone(), Side::of_segment(of)));
        let window = Window {
            judged: named(current),
            there: there.collect(),
            whole: Side::of_profile(&window),
            segments: segments.collect(),
        };
        let reference = side_of(arguments, &profile);
        return Ok(together(
            arguments,
            (&profile, reference, of_reference),
            window,
        ));
    }
    let reading = opened(arguments, current).await?;
    let asking = Asking {
        roles,
        ..Asking::default()
    };
    judge(
        arguments,
        (&profile, of_reference),
        named(current),
        Some(&reading),
        asking,
    )
    .await
}

/// Whether an address is that of a profile, and not of data.
fn is_profile(arguments: &Arguments, uri: &str) -> bool {
    let is_json = |extension: &std::ffi::OsStr| extension == "json";
    arguments.format != Some(DataFormat::Json) && Path::new(uri).extension().is_some_and(is_json)
}

async fn opened(arguments: &Arguments, uri: &str) -> Result<Reading, FailureReport> {
    let address = Address::parse(uri).or_fail(FailureReason::InvalidArguments)?;
    let format: DataFormat = match arguments.format {
        Some(format) => format,
        None => file::guessed(&address, REASONS).await?,
    };
    let reading = Reading::open(&address, format, REASONS, |_| true).await?;
    Ok(reading.counted_by(arguments.engine.counted_by.clone()))
}

fn check_roles(reading: &Reading, roles: &Roles, uri: &str) -> Result<(), FailureReport> {
    let missing = roles
        .names()
        .find(|name| reading.schema().field_with_name(name).is_err());
    match missing {
        Some(name) => Err(no_column(reading.schema(), name, uri, REASONS)),
        None => profile::check_time(reading, roles),
    }
}

/// Counts a window beside its reference, and compares both. Without a reading there are no rows.
async fn judge(
    arguments: &Arguments,
    (profile, of_reference): (&Profile, Judged),
    judged: Judged,
    reading: Option<&Reading>,
    asking: Asking,
) -> Result<Results, FailureReport> {
    let reference = side_of(arguments, profile);
    let columns = reference.asked(profile.scores.as_ref());
    let asking = Arc::new(Asking {
        columns,
        segments: arguments.segments.clone(),
        ..asking
    });
    let Some(reading) = reading else {
        let none = Window {
            judged,
            ..Window::default()
        };
        return Ok(together(
            arguments,
            (profile, reference, of_reference),
            none,
        ));
    };
    check_roles(reading, &asking.roles, &judged.name)?;
    let progress = Progress::new(reading.rows(), "rows");
    let shown = progress.clone();
    let told: Told = Arc::new(move |rows| shown.advance(rows));
    let counted = reading.count(&asking, &told).await;
    progress.finish();
    let counted = counted?;
    let mut sides = counted
        .iter()
        .map(|sketch| Side::of_sketch(&reference, &asking, sketch));
    let whole = sides.next().unwrap_or_default();
    let segments = asking.segments.iter().cloned().zip(sides).collect();
    let fields = reading.schema().fields().iter();
    let window = Window {
        judged,
        there: fields.map(|field| field.name().clone()).collect(),
        whole,
        segments,
    };
    Ok(together(
        arguments,
        (profile, reference, of_reference),
        window,
    ))
}

/// What was counted of a window.
#[derive(Default)]
struct Window {
    judged: Judged,
    /// The columns that its files have.
    there: Vec<String>,
    whole: Side,
    segments: Vec<(String, Side)>,
}

/// The reference, with the columns that are compared: those that were named, if any were, and none that says what rows are.
fn side_of(arguments: &Arguments, profile: &Profile) -> Side {
    let mut side = Side::of_profile(profile);
    let roles = [&arguments.unit, &arguments.id, &arguments.time];
    side.columns.retain(|column| {
        let is_role = roles.into_iter().flatten().any(|role| *role == column.name);
        let is_named = arguments.columns.is_empty() || arguments.columns.contains(&column.name);
        let is_blanked =
            arguments.payloads.is_some() && sides::is_blanked(column, &arguments.ignored);
        is_named && !is_role && !is_blanked && !arguments.ignored.contains(&column.name)
    });
    side
}

/// All that is found of a window whose columns were counted, beside a reference as [`side_of`] has it.
fn together(
    arguments: &Arguments,
    (profile, mut reference, of_reference): (&Profile, Side, Judged),
    of: Window,
) -> Results {
    let window = &of.whole;
    let is_worth_unknown = profile.unit.is_none() && arguments.unit.is_some();
    if is_worth_unknown {
        // What rows of the reference are worth is not known: as much as those of the window.
        reference.take_worth(window);
    }
    let rule = arguments.rule();
    let end = of.judged.end.map(jiff::Timestamp::as_microsecond);
    let span = Span::of(&of.judged, window);
    let mut findings = Findings::new(&arguments.quality, reference.columns.len());
    let is_enough = window.rows >= arguments.least_rows();
    let (found, with) = if is_enough {
        let season = Season::of(&reference, window, span);
        findings.look(&reference, season.as_ref(), window, &of.there);
        findings.age(window, end.unwrap_or_default());
        against(arguments, &reference, window, season.as_ref(), span)
    } else {
        Default::default()
    };
    for LeftOut { column, why } in &found.left_out {
        findings.say(false, format!("column '{column}' is not compared: {why}"));
    }
    let scores = profile.scores.as_ref().filter(|_| is_enough);
    let expected = expected::expected(scores, window, rule.confidence);
    let mut of_segments = Vec::new();
    for (segment, side) in of.segments {
        let known = profile.segments.iter().find(|of| of.segment == segment);
        let old = known.map(|of| {
            let mut old = Side::of_segment(of);
            let is_compared = |name: &str| reference.column(name).is_some();
            old.columns.retain(|column| is_compared(&column.name));
            if is_worth_unknown {
                old.take_worth(&side);
            }
            old
        });
        let (found, with) = match &old {
            Some(old) if side.rows >= arguments.least_rows() => {
                let season = Season::of(old, &side, span);
                against(arguments, old, &side, season.as_ref(), span)
            }
            Some(_) | None => Default::default(),
        };
        let (verdict, message) = verdict::of_segment(arguments, old.as_ref(), &side, &found);
        of_segments.push(Segment {
            segment,
            verdict,
            message,
            rows: [old.map_or(0, |old| old.rows), side.rows],
            columns: found.columns,
            not_compared: names(found.left_out),
            compared_with: with,
            performance: None,
        });
    }
    let mut results = Results {
        format: FORMAT,
        verdict: windlass_api::agent::WindowVerdict::Healthy,
        message: String::new(),
        reference: Judged {
            rows: reference.rows,
            effective_rows: reference.effective_rows(),
            ..of_reference
        },
        window: Judged {
            rows: window.rows,
            effective_rows: window.effective_rows(),
            ..of.judged
        },
        settings: Settings {
            confidence: rule.confidence,
            false_discovery_rate: rule.false_discovery_rate,
            drifted_share: arguments.drifted_share,
            min_samples: arguments.least_rows(),
            unit: arguments.unit.clone(),
        },
        columns: found.columns,
        not_compared: names(found.left_out),
        compared_with: with,
        findings: findings.all(),
        performance: None,
        expected,
        segments: of_segments,
    };
    verdict::settle(arguments, &mut results);
    results
}

/// Compares a window with what of a reference is of its season, as far as the reference's own windows lie from each other; and
/// which rows these are.
fn against(
    arguments: &Arguments,
    reference: &Side,
    window: &Side,
    season: Option<&Season>,
    span: Option<Span>,
) -> (compare::Found, Option<ComparedWith>) {
    let own = OwnWindows::of(reference, season, span, arguments.least_rows());
    let limit = |column: &str, kind| arguments.limit(column, kind);
    let with = season.map_or(reference, |season| season.side(reference));
    let found = compare([with, window], own.as_ref(), limit, arguments.rule());
    let compared_with = season.map(|season| ComparedWith {
        rows: with.rows,
        words: season.words.clone(),
        own_windows: own.as_ref().map_or(0, OwnWindows::count),
    });
    (found, compared_with)
}

fn names(left_out: Vec<LeftOut>) -> Vec<String> {
    left_out.into_iter().map(|of| of.column).collect()
}
