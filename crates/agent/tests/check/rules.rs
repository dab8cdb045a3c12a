//! Each rule, held and broken.

use super::*;

#[test]
fn every_rule_holds_or_is_broken_alike_in_each_format() {
    let place = Place::new();
    people(&place);
    for format in FORMATS {
        table(
            &place,
            format,
            format,
            &[
                (r#"{"column":"id"}"#, ""),
                (r#"{"column":"age","type":"Integer"}"#, ""),
                (r#"{"column":"age","type":"Number"}"#, ""),
                (r#"{"column":"state","type":"Text"}"#, ""),
                (r#"{"column":"Joined At","type":"Timestamp"}"#, ""),
                (r#"{"column":"id","notNull":true}"#, ""),
                (
                    r#"{"column":"age","notNull":true}"#,
                    ", column 'age', notNull: 2 of 10 rows (20%) have no value",
                ),
                (r#"{"column":"age","min":"-3","max":"99"}"#, ""),
                (
                    r#"{"column":"age","min":"0"}"#,
                    ", column 'age', min 0: 2 of 10 rows (20%) are below it, the lowest is -3",
                ),
                (
                    r#"{"column":"age","max":"98.5"}"#,
                    ", column 'age', max 98.5: 1 of 10 rows (10%) is above it, the highest is 99",
                ),
                (r#"{"column":"state","oneOf":["on","off","On","lost"]}"#, ""),
                (
                    r#"{"column":"state","oneOf":["on","off"]}"#,
                    ", column 'state', oneOf ['on', 'off']: 2 of 10 rows (20%) hold something else, such as 'On'",
                ),
                (
                    r#"{"column":"age","oneOf":["31","-3.0","44","-1","0","7","18"]}"#,
                    ", column 'age', oneOf ['31', '-3.0', '44', '-1', '0' and 2 more]: 1 of 10 rows (10%) holds something else, such as '99'",
                ),
                (r#"{"column":"id","unique":true}"#, ""),
                (r#"{"column":"age","unique":true}"#, ""),
                (
                    r#"{"column":"state","unique":true}"#,
                    ", column 'state', unique: 6 of 10 rows (60%) repeat the value of another: 2 values are there more than once, 'on' 5 times",
                ),
                (r#"{"column":"age","in":{"input":"in","column":"age"}}"#, ""),
                (
                    r#"{"column":"age","in":{"input":"in","column":"id"}}"#,
                    ", column 'age', in column 'id' of input 'in': 6 of 10 rows (60%) hold a value that is not in it: 6 values are not there, such as '-1' in 1 row",
                ),
                (r#"{"minRows":10,"maxRows":10}"#, ""),
                (r#"{"minRows":1234}"#, ", minRows 1234: it has 10 rows"),
                (
                    r#"{"column":"id","maxRows":9}"#,
                    ", maxRows 9: it has 10 rows",
                ),
                (r#"{"predicate":"age > -4"}"#, ""),
                (
                    r#"{"predicate":"\"Joined At\" >= '2026-01-01' AND age + id < 1000"}"#,
                    "",
                ),
                (
                    r#"{"predicate":"age >= 0 OR state = 'on'"}"#,
                    ", predicate \"age >= 0 OR state = 'on'\": 1 of 10 rows (10%) breaks it, such as age = -1, state = On",
                ),
                (
                    r#"{"column":"age","predicate":"age + 1 < 100"}"#,
                    ", column 'age', predicate \"age + 1 < 100\": 1 of 10 rows (10%) breaks it, such as age = 99",
                ),
                (r#"{"column":"Joined At","newestWithin":"87600h"}"#, ""),
            ],
        );
        let old = check(
            &place,
            format,
            format,
            &[r#"{"column":"Joined At","newestWithin":"26h"}"#],
        );
        let old = message(&old, FailureReason::CheckFailed);
        assert!(old.starts_with("input 'in', column 'Joined At', newestWithin 26h: the newest is 2026-01-09T10:00:00Z, which is "), "{old}");
        assert!(old.ends_with(" days ago"), "{old}");
    }
}

#[test]
fn a_type_is_what_the_values_look_like_or_that_of_parquet() {
    let place = Place::new();
    people(&place);
    for format in ["CSV", "JSON"] {
        table(
            &place,
            format,
            format,
            &[
                (
                    r#"{"column":"state","type":"Number"}"#,
                    ", column 'state', type Number: 10 of 10 rows (100%) do not look like it, such as 'On'",
                ),
                (
                    r#"{"column":"state","type":"Number","maxShare":"0.999"}"#,
                    ", column 'state', type Number: 10 of 10 rows (100%) do not look like it, such as 'On'; a share of 0.999 may",
                ),
                (
                    r#"{"column":"id","type":"Boolean"}"#,
                    ", column 'id', type Boolean: 10 of 10 rows (100%) do not look like it, such as '0'",
                ),
                (
                    r#"{"column":"id","type":"Timestamp"}"#,
                    ", column 'id', type Timestamp: 10 of 10 rows (100%) do not look like it, such as '0'",
                ),
                (r#"{"column":"id","type":"Text"}"#, ""),
            ],
        );
    }
    table(
        &place,
        "Parquet",
        "Parquet",
        &[
            (
                r#"{"column":"state","type":"Number"}"#,
                ", column 'state', type Number: it is Utf8 in a.parquet",
            ),
            (
                r#"{"column":"id","type":"Text"}"#,
                ", column 'id', type Text: it is Int64 in a.parquet",
            ),
            (
                r#"{"column":"id","type":"Boolean"}"#,
                ", column 'id', type Boolean: it is Int64 in a.parquet",
            ),
        ],
    );
    // One value among three thousand, past what a guess would read.
    let mut late = "n\n".to_owned();
    for n in 0..3000 {
        writeln!(late, "{n}").expect("text");
    }
    late.push_str("n/a\n");
    place.file("late/a.csv", late);
    table(
        &place,
        "late",
        "CSV",
        &[
            (
                r#"{"column":"n","type":"Integer"}"#,
                ", column 'n', type Integer: 1 of 3,001 rows (less than 0.1%) does not look like it, such as 'n/a'",
            ),
            (
                r#"{"column":"n","min":"1"}"#,
                ", column 'n', min 1: 2 of 3,001 rows (less than 0.1%) break it: 1 is below it, the lowest is 0, and 1 holds no number, such as 'n/a'",
            ),
            (
                r#"{"column":"n","type":"Integer","maxShare":"0.001","predicate":"n < 3000"}"#,
                "",
            ),
        ],
    );
}

#[test]
fn a_share_of_the_rows_may_break_a_rule_and_exactly_that_holds() {
    let place = Place::new();
    let mut rows = "n,m\n".to_owned();
    for n in 0..1000 {
        writeln!(rows, "{n},{}", n % 100).expect("text");
    }
    place.file("in/a.csv", rows);
    for (rule, broken, held) in [
        (r#""column":"n","min":"10""#, "0.0099", "0.01"),
        (r#""column":"n","max":"992""#, "0.0069", "0.007"),
        (r#""column":"m","oneOf":["0"]"#, "0.989", "0.99"),
        (r#""column":"m","unique":true"#, "0.899", "0.9"),
        (
            r#""column":"n","in":{"input":"in","column":"m"}"#,
            "0.899",
            "0.9",
        ),
        (r#""predicate":"n <> m""#, "0.099", "0.1"),
    ] {
        let with = |share: &str| {
            check(
                &place,
                "in",
                "CSV",
                &[&format!(r#"{{{rule},"maxShare":"{share}"}}"#)],
            )
        };
        message(&with(broken), FailureReason::CheckFailed);
        self::held(&with(held));
    }
}

#[test]
fn nan_is_no_value_and_within_no_bounds() {
    let place = Place::new();
    write(
        &place.path("Parquet/a.parquet"),
        vec![
            (
                "x",
                Arc::new(Float64Array::from(vec![
                    Some(1.5),
                    Some(f64::NAN),
                    None,
                    Some(f64::INFINITY),
                ])),
            ),
            ("f", Arc::new(Float32Array::from(vec![0.1, 0.1, 0.1, 0.1]))),
            (
                "b",
                Arc::new(BooleanArray::from(vec![true, false, true, false])),
            ),
            (
                "d",
                Arc::new(Date32Array::from(vec![20_000, 20_001, 20_002, 20_003])),
            ),
        ],
    );
    place.file("CSV/a.csv", "x,f,b,d\n1.5,0.1,true,2024-10-04\nNaN,0.1,False,2024-10-05\n,0.1,TRUE,2024-10-06\ninf,0.1,false,2024-10-07\n");
    for format in ["CSV", "Parquet"] {
        table(
            &place,
            format,
            format,
            &[
                (
                    r#"{"column":"x","notNull":true}"#,
                    ", column 'x', notNull: 2 of 4 rows (50%) have no value",
                ),
                (
                    r#"{"column":"x","min":"2"}"#,
                    ", column 'x', min 2: 2 of 4 rows (50%) break it: 1 is below it, the lowest is 1.5, and 1 is NaN",
                ),
                (
                    r#"{"column":"x","max":"2"}"#,
                    ", column 'x', max 2: 2 of 4 rows (50%) break it: 1 is above it, the highest is inf, and 1 is NaN",
                ),
                (r#"{"column":"x","oneOf":["1.50","inf"]}"#, ""),
                (r#"{"column":"x","unique":true,"type":"Number"}"#, ""),
                (r#"{"column":"f","min":"0.1","max":"0.10"}"#, ""),
                (
                    r#"{"column":"b","type":"Boolean","oneOf":["true","false"]}"#,
                    "",
                ),
                (
                    r#"{"column":"b","oneOf":["true"]}"#,
                    if format == "CSV" {
                        ", column 'b', oneOf ['true']: 2 of 4 rows (50%) hold something else, such as 'False'"
                    } else {
                        ", column 'b', oneOf ['true']: 2 of 4 rows (50%) hold something else, such as 'false'"
                    },
                ),
                (
                    r#"{"column":"d","type":"Timestamp","oneOf":["2024-10-04","2024-10-05","2024-10-06","2024-10-07"]}"#,
                    "",
                ),
                (r#"{"predicate":"NOT b OR d < '2024-10-07'"}"#, ""),
            ],
        );
    }
    for (json, says) in [
        (
            r#"{"column":"d","min":"1"}"#,
            "input 'in', column 'd', min 1: it is a bound for numbers, and the column's type is Date32",
        ),
        (
            r#"{"column":"b","max":"1"}"#,
            "input 'in', column 'b', max 1: it is a bound for numbers, and the column's type is Boolean",
        ),
        (
            r#"{"column":"x","newestWithin":"1h"}"#,
            "input 'in', column 'x', newestWithin 1h: it is about times, and the column's type is Float64",
        ),
    ] {
        let said = message(
            &check(&place, "Parquet", "Parquet", &[json]),
            FailureReason::InvalidArguments,
        );
        assert!(said.starts_with(says), "{said}");
    }
    let said = message(
        &check(
            &place,
            "CSV",
            "CSV",
            &[r#"{"column":"d","type":"Timestamp","min":"1"}"#],
        ),
        FailureReason::InvalidArguments,
    );
    assert!(
        said.contains("the column is of the type Timestamp"),
        "{said}"
    );
}

#[test]
fn no_rows_break_no_rule_of_rows() {
    let place = Place::new();
    place.file("CSV/a.csv", "id,age,at\n");
    write(
        &place.path("Parquet/a.parquet"),
        vec![
            ("id", Arc::new(Int64Array::from(Vec::<i64>::new()))),
            ("age", Arc::new(Int64Array::from(Vec::<i64>::new()))),
            (
                "at",
                Arc::new(TimestampMicrosecondArray::from(Vec::<i64>::new())),
            ),
        ],
    );
    for format in ["CSV", "Parquet"] {
        let ended = check(
            &place,
            format,
            format,
            &[
                r#"{"column":"age","type":"Integer","notNull":true,"min":"0","max":"1","oneOf":["1"],"unique":true,"in":{"input":"in","column":"id"}}"#,
                r#"{"predicate":"age > 3","minRows":0}"#,
            ],
        );
        let report = held(&ended);
        assert_eq!((report.rules, report.inputs[0].rows), (9, Some(0)));
        table(
            &place,
            format,
            format,
            &[
                (r#"{"minRows":1}"#, ", minRows 1: it has no rows"),
                (
                    r#"{"column":"at","newestWithin":"1h"}"#,
                    ", column 'at', newestWithin 1h: there is no time in it",
                ),
            ],
        );
    }
    place.file("JSON/a.json", "\n");
    let said = message(
        &check(&place, "JSON", "JSON", &[r#"{"minRows":1}"#]),
        FailureReason::InputUnreadable,
    );
    assert_eq!(
        said,
        "input 'in': no file at its address holds a column in JSON"
    );
}

#[test]
fn all_rules_are_checked_and_ten_are_told_in_the_order_of_the_manifest() {
    let place = Place::new();
    people(&place);
    let checks = [
        r#"{"minRows":11}"#,
        r#"{"column":"nowhere","notNull":true,"min":"3"}"#,
        r#"{"column":"state","unique":true}"#,
        r#"{"column":"age","notNull":true,"min":"0"}"#,
        r#"{"column":"id","min":"1"}"#,
        r#"{"column":"id","min":"2"}"#,
        r#"{"column":"id","min":"3"}"#,
        r#"{"column":"id","min":"4"}"#,
        r#"{"column":"id","min":"5"}"#,
        r#"{"column":"id","min":"6"}"#,
        r#"{"column":"id","min":"7"}"#,
    ];
    let said = message(
        &check(&place, "CSV", "CSV", &checks),
        FailureReason::CheckFailed,
    );
    let parts: Vec<&str> = said.split("; input ").collect();
    assert_eq!(parts.len(), 10, "{said}");
    for (part, begins) in parts.iter().zip([
        "input 'in', minRows 11",
        "'in' has no column 'nowhere'; its columns are id, age, state, Joined At",
        "'in', column 'state', unique",
        "'in', column 'age', notNull",
        "'in', column 'age', min 0",
        "'in', column 'id', min 1: 1 of 10 rows (10%) is below it, the lowest is 0",
    ]) {
        assert!(part.starts_with(begins), "{part}");
    }
    assert!(said.ends_with("; and 2 more"), "{said}");
}
