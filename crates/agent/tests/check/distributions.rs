//! Profiles, and what is held against them.

use windlass_api::agent::{Distribution, Profile, Tree};

use super::*;

/// Splitmix64, for numbers in [0, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).expect("32 bits")) / 4_294_967_296.0
    }
}

/// `wind` moves by `shift`; `carrier` has one of three; `city` one of many, few of them often; `id` is none twice.
fn flights(rows: usize, seed: u64, shift: f64, often: f64) -> String {
    let mut random = Random(seed);
    let mut csv = "id,key,wind,carrier,city,at\n".to_owned();
    for row in 0..rows {
        let wind = (random.next() + random.next()) * 10.0 + shift;
        let carrier = if random.next() < often { "UA" } else { "DL" };
        let city = (random.next() * random.next() * 1000.0).floor();
        writeln!(
            csv,
            "{row},key-{seed}-{row},{wind},{carrier},city {city},2026-01-01T00:00:00Z"
        )
        .expect("text");
    }
    csv
}

/// Makes the profile of 30,000 flights; its tree.
fn profiled(place: &Place) -> Tree {
    place.file("old/a.csv", flights(30_000, 1, 0.0, 0.3));
    let to = format!("--profile-to={}", place.path("profiles").display());
    let made = with(place, "old", "CSV", &[], &[&to]);
    held(&made).inputs[0].profile.clone().expect("a profile")
}

#[test]
fn a_profile_counts_every_row_and_leaves_out_what_names_its_rows() {
    let place = Place::new();
    let tree = profiled(&place);
    assert_eq!(
        tree.uri,
        place.path("profiles/in.json").display().to_string()
    );
    let profile: Profile =
        serde_json::from_str(&place.read("profiles/in.json")).expect("a profile");
    assert_eq!(profile.rows, 30_000);
    // Ids and times are no distributions.
    let names: Vec<&str> = profile.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["wind", "carrier", "city"]);
    let cells: Vec<Vec<u64>> = profile
        .columns
        .iter()
        .map(|column| match &column.distribution {
            Distribution::Number { counts, .. } => counts.clone(),
            Distribution::Category { counts } => counts.values().copied().collect(),
            other => panic!("{} is taken for {other:?}", column.name),
        })
        .collect();
    let sizes: Vec<usize> = cells.iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 2, 200]);
    for cells in &cells {
        assert_eq!(cells.iter().sum::<u64>(), 30_000);
    }
    // The bins are cut by a sample, and hold about the same.
    assert!(
        cells[0].iter().all(|count| (2800..3200).contains(count)),
        "{:?}",
        cells[0]
    );
    assert_eq!(profiled(&place).digest, tree.digest);
}

#[test]
fn a_distribution_is_held_against_the_profile_of_an_earlier_check() {
    let place = Place::new();
    let reference = format!("--reference=in={}", profiled(&place).uri);
    place.file("same/a.csv", flights(5_000, 2, 0.0, 0.3));
    place.file("windy/a.csv", flights(5_000, 3, 8.0, 0.3));
    place.file("other/a.csv", flights(5_000, 4, 0.0, 0.9));
    let strong = flights(5_000, 5, 0.0, 0.3) + "1,k,strong,UA,city 1,2026-01-01\n";
    place.file("text/a.csv", strong);
    place.file("less/a.csv", "id,carrier\n1,UA\n");
    let all = r#"{"sameDistributionAs":"Champion"}"#;
    let wind = r#"{"column":"wind","sameDistributionAs":"Champion"}"#;
    for (folder, check, says) in [
        ("same", all, ""),
        (
            "windy",
            r#"{"column":"carrier","sameDistributionAs":"Champion"}"#,
            "",
        ),
        (
            "windy",
            r#"{"column":"wind","sameDistributionAs":"Champion","maxPsi":"4"}"#,
            "",
        ),
        (
            "windy",
            r#"{"column":"at","sameDistributionAs":"Champion"}"#,
            "",
        ),
        (
            "windy",
            all,
            ": 1 of 3 columns: 'wind' has moved (mean 10.0 → 1",
        ),
        ("windy", wind, ": 'wind' has moved (mean 10.0 → 1"),
        ("other", all, ": 1 of 3 columns: 'carrier' has moved ("),
        (
            "text",
            all,
            ": 1 of 3 columns: 'wind' was a number in the champion's data, and 1 row holds none, such as 'strong'",
        ),
        (
            "less",
            all,
            ": 2 of 3 columns: 'wind' was in the champion's data and is not there, 'city' was",
        ),
    ] {
        let ended = with(&place, folder, "CSV", &[check], &[&reference]);
        if says.is_empty() {
            assert_eq!(held(&ended).rules, 1);
        } else {
            let said = message(&ended, FailureReason::CheckFailed);
            let says = format!("sameDistributionAs Champion, maxPsi 0.2{says}");
            assert!(
                said.starts_with("input 'in'") && said.contains(&says),
                "{said}"
            );
        }
    }
    let near = r#"{"column":"wind","sameDistributionAs":"Champion","maxPsi":"3"}"#;
    let ended = with(&place, "windy", "CSV", &[near], &[&reference]);
    message(&ended, FailureReason::CheckFailed);
    let nowhere = with(
        &place,
        "same",
        "CSV",
        &[all],
        &["--reference=in=/nowhere/in.json"],
    );
    message(&nowhere, FailureReason::ReferenceUnreadable);
}

#[test]
fn with_nothing_to_compare_with_a_distribution_holds_and_the_log_says_so() {
    let place = Place::new();
    people(&place);
    let ended = check(
        &place,
        "CSV",
        "CSV",
        &[r#"{"sameDistributionAs":"Champion"}"#],
    );
    held(&ended);
    let log = String::from_utf8_lossy(&ended.output.stderr);
    assert!(
        log.contains("there is no profile to compare the distributions with"),
        "{log}"
    );
}
