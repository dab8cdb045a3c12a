//! Names of columns, predicates, arguments.

use super::*;

#[test]
fn names_of_columns_are_names_and_no_sql() {
    let place = Place::new();
    let names = [
        "two words",
        "UPPER",
        "upper",
        "it's",
        "a.b",
        "x); DROP TABLE y; --",
        "per%cent",
    ];
    place.file(
        "in/a.csv",
        format!("{},\"quo\"\"ted\"\n1,2,3,4,5,6,7,8\n", names.join(",")),
    );
    for (place_of, name) in names.iter().chain(&["quo\"ted"]).enumerate() {
        let least = place_of + 1;
        let checks = [
            serde_json::json!({"column": name, "type": "Integer", "notNull": true, "min": least.to_string(), "max": least.to_string(),
                "oneOf": [least.to_string()], "unique": true, "in": {"input": "in", "column": name}}).to_string(),
            serde_json::json!({"column": name, "oneOf": ["' OR true OR '"]}).to_string(),
        ];
        let report = check(&place, "in", "CSV", &[&checks[0]]);
        assert_eq!(held(&report).rules, 7, "{name}");
        let said = message(
            &check(&place, "in", "CSV", &[&checks[1]]),
            FailureReason::CheckFailed,
        );
        assert!(
            said.ends_with(&format!(
                "1 of 1 rows (100%) holds something else, such as '{least}'"
            )),
            "{said}"
        );
    }
    let quoted = r#"{"predicate":"\"two words\" < \"UPPER\" AND upper > \"UPPER\" AND \"a.b\" = 5 AND \"quo\"\"ted\" = 8"}"#;
    held(&check(&place, "in", "CSV", &[quoted]));
    // A name is not found in other letters.
    let said = message(
        &check(&place, "in", "CSV", &[r#"{"column":"Upper"}"#]),
        FailureReason::ColumnNotFound,
    );
    assert!(
        said.starts_with(
            "input 'in' has no column 'Upper'; its columns are two words, UPPER, upper"
        ),
        "{said}"
    );
}

#[test]
fn where_a_predicate_is_null_it_holds_and_what_is_none_is_refused() {
    let place = Place::new();
    people(&place);
    for format in FORMATS {
        held(&check(
            &place,
            format,
            format,
            &[r#"{"predicate":"age > -100"}"#],
        ));
        for (predicate, says) in [
            ("age > (SELECT max(id) FROM other)", ""),
            ("age > (SELECT 3)", "it holds a subquery"),
            ("id IN (SELECT 1)", "it holds a subquery"),
            ("age > 0; DROP TABLE people", ""),
            ("SELECT 1", ""),
            ("age + 1", "it is not true or false, but Int64"),
            ("sum(age) > 3", "it holds an aggregate"),
            ("state >>> 3", ""),
        ] {
            let json = serde_json::json!({ "predicate": predicate }).to_string();
            let said = message(
                &check(&place, format, format, &[&json]),
                FailureReason::InvalidArguments,
            );
            assert!(
                said.starts_with(&format!("input 'in', predicate \"{predicate}\": ")),
                "{said}"
            );
            assert!(said.contains(says), "{said}");
        }
        let said = message(
            &check(&place, format, format, &[r#"{"predicate":"Age > 0"}"#]),
            FailureReason::ColumnNotFound,
        );
        assert!(
            said.starts_with("input 'in' has no column 'Age'; its columns are "),
            "{said}"
        );
    }
    // What can be parsed may still fail for a row.
    let said = message(
        &check(
            &place,
            "Parquet",
            "Parquet",
            &[r#"{"predicate":"10 / id > 0"}"#, r#"{"minRows":11}"#],
        ),
        FailureReason::CheckFailed,
    );
    assert_eq!(
        said,
        "input 'in', predicate \"10 / id > 0\": it cannot be computed for every row: Arrow error: Divide by zero error; input 'in', minRows 11: it has 10 rows"
    );
}

#[test]
fn arguments_that_make_no_sense_are_told_before_anything_is_read() {
    let place = Place::new();
    let run = |arguments: &[&str]| {
        let mut all = vec!["check"];
        all.extend(arguments);
        message(&place.agent(&all), FailureReason::InvalidArguments)
    };
    let base = [
        "--input=a=/nowhere/a",
        "--input=b=/nowhere/b",
        "--input-format=a=CSV",
    ];
    for (more, says) in [
        (
            &["--check=c={\"minRows\":1}"][..],
            "check 1 of input 'c': there is no --input of this name",
        ),
        (
            &["--check=b={\"minRows\":1}"],
            "check 1 of input 'b': it needs --input-format b=CSV, Parquet or JSON",
        ),
        (
            &["--check=a={\"minRows\":1}", "--check=a={\"min\":"],
            "check 2 of input 'a': it is no JSON",
        ),
        (
            &["--check=a={\"column\":\"x\",\"Min\":\"1\"}"],
            "check 1 of input 'a': .Min is no field of a check",
        ),
        (
            &["--check=a={\"column\":\"x\",\"maxShare\":0.1}"],
            "check 1 of input 'a': .maxShare: invalid type",
        ),
        (
            &["--check=a={\"column\":\"x\",\"in\":{\"input\":\"c\",\"column\":\"y\"}}"],
            "check 1 of input 'a': .in.input: there is no --input 'c'",
        ),
        (
            &["--check=a={\"column\":\"x\",\"in\":{\"input\":\"b\",\"column\":\"y\"}}"],
            "check 1 of input 'a': .in.input: 'b' needs --input-format",
        ),
        (
            &["--reference=c=/x"],
            "--reference c=/x names an input that is not there",
        ),
        (&["--input=a=/y"], "there are two inputs with the name 'a'"),
        (
            &["--input-format=c=CSV"],
            "--input-format names the input 'c', which is not there",
        ),
        (&["--profile-to="], "'' is not an address"),
    ] {
        let mut arguments = base.to_vec();
        arguments.extend(more);
        let said = run(&arguments);
        assert!(said.starts_with(says), "{said}");
    }
    assert!(run(&[]).starts_with("there is nothing to check"));
}
