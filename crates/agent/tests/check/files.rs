//! What lies at an address: several files, several inputs, what cannot be read.

use super::*;

#[test]
fn a_foreign_key_is_compared_as_both_sides_have_it() {
    let place = Place::new();
    place.file(
        "flights.csv",
        "origin,code,n\nJFK,007,1\nEWR,8,2.0\nJFK,9,3\nXXX,1,99\nXXX,1,98\n,,\n",
    );
    place.file("airports.json", "{\"faa\": \"JFK\"}\n{\"faa\": \"EWR\"}\n");
    write(
        &place.path("codes.parquet"),
        vec![
            ("number", Arc::new(Int64Array::from(vec![7, 8, 9, 1, 2, 3]))),
            (
                "text",
                Arc::new(StringArray::from(vec!["007", "8", "9", "1", "2.0", "x"])),
            ),
        ],
    );
    let input = |name: &str, file: &str| format!("{name}={}", place.path(file).display());
    let run = |checks: &[&str]| {
        let inputs = [
            input("flights", "flights.csv"),
            input("airports", "airports.json"),
            input("codes", "codes.parquet"),
        ];
        let mut arguments = vec!["check"];
        for input in &inputs {
            arguments.extend(["--input", input]);
        }
        for format in ["flights=CSV", "airports=JSON", "codes=Parquet"] {
            arguments.extend(["--input-format", format]);
        }
        for check in checks {
            arguments.extend(["--check", check]);
        }
        place.agent(&arguments)
    };
    let report = run(&[
        r#"flights={"column":"code","in":{"input":"codes","column":"number"}}"#,
        r#"flights={"column":"code","in":{"input":"codes","column":"text"}}"#,
        r#"airports={"column":"faa","in":{"input":"flights","column":"origin"}}"#,
    ]);
    assert_eq!(
        held(&report)
            .inputs
            .iter()
            .map(|input| input.rows)
            .collect::<Vec<_>>(),
        [Some(6), Some(2), Some(6)]
    );
    for (check, says) in [
        (
            r#"flights={"column":"origin","in":{"input":"airports","column":"faa"}}"#,
            "input 'flights', column 'origin', in column 'faa' of input 'airports': 2 of 6 rows (33.3%) hold a value that is not in it: 'XXX' is not there",
        ),
        (
            r#"flights={"column":"n","in":{"input":"codes","column":"number"}}"#,
            "input 'flights', column 'n', in column 'number' of input 'codes': 2 of 6 rows (33.3%) hold a value that is not in it: 2 values are not there, such as '98' in 1 row",
        ),
    ] {
        assert_eq!(message(&run(&[check]), FailureReason::CheckFailed), says);
    }
    let missing = run(&[r#"flights={"column":"n","in":{"input":"codes","column":"no"}}"#]);
    assert_eq!(
        message(&missing, FailureReason::ColumnNotFound),
        "input 'codes' has no column 'no'; its columns are number, text"
    );
}

#[test]
fn files_of_one_input_may_have_their_columns_in_another_order() {
    let place = Place::new();
    place.file("CSV/a.csv", "a,b\n1,x\n");
    place.file("CSV/deep/b.csv", "b,a,c\ny,2,3\n");
    place.file("CSV/_SUCCESS", "");
    place.file("CSV/empty.csv", "");
    place.file("CSV/.hidden", "nonsense");
    place.file("JSON/a.json", "{\"a\": 1, \"b\": \"x\"}\n");
    place.file("JSON/b.json", "{\"b\": \"y\", \"c\": 3, \"a\": 2}\n");
    write(
        &place.path("Parquet/a.parquet"),
        vec![
            ("a", Arc::new(Int64Array::from(vec![1]))),
            ("b", Arc::new(StringArray::from(vec!["x"]))),
        ],
    );
    write(
        &place.path("Parquet/b.parquet"),
        vec![
            ("b", Arc::new(StringArray::from(vec!["y"]))),
            ("a", Arc::new(Float64Array::from(vec![2.0]))),
            ("c", Arc::new(Int64Array::from(vec![3]))),
        ],
    );
    for format in FORMATS {
        let ended = check(
            &place,
            format,
            format,
            &[
                r#"{"column":"a","max":"2","oneOf":["1","2"]}"#,
                r#"{"column":"b","oneOf":["x","y"]}"#,
            ],
        );
        assert_eq!(held(&ended).inputs[0].rows, Some(2));
        table(
            &place,
            format,
            format,
            &[(
                r#"{"column":"a","min":"2"}"#,
                ", column 'a', min 2: 1 of 2 rows (50%) is below it, the lowest is 1",
            )],
        );
        for json in [r#"{"column":"c","min":"3"}"#, r#"{"predicate":"c >= 3"}"#] {
            let ended = check(&place, format, format, &[json]);
            if format == "JSON" {
                held(&ended);
            } else {
                let file = if format == "CSV" {
                    "a.csv"
                } else {
                    "a.parquet"
                };
                assert_eq!(
                    message(&ended, FailureReason::ColumnNotFound),
                    format!("input 'in' has no column 'c' in {file}; its columns are a, b")
                );
            }
        }
    }
    table(
        &place,
        "Parquet",
        "Parquet",
        &[(
            r#"{"column":"a","type":"Integer"}"#,
            ", column 'a', type Integer: it is Float64 in b.parquet",
        )],
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let place = Place::new();
    place.file("good/a.csv", "a,b\n1,2\n");
    for (name, content, format, says) in [
        (
            "CSV/b.csv",
            "a,b\n1,2\n1,2,3\n",
            "CSV",
            "input 'in': b.csv cannot be read as CSV: ",
        ),
        (
            "twins/b.csv",
            "a,a\n1,2\n",
            "CSV",
            "input 'in': b.csv cannot be read as CSV: it has two columns with the name 'a'",
        ),
        (
            "JSON/b.json",
            "{\"a\": 1}\n{\"a\": \n",
            "JSON",
            "input 'in': b.json cannot be read as JSON: line 2 is no JSON",
        ),
        (
            "list/b.json",
            "[1]\n",
            "JSON",
            "input 'in': b.json cannot be read as JSON: line 1 is no JSON object",
        ),
        (
            "Parquet/b.parquet",
            "PAR1",
            "Parquet",
            "input 'in': b.parquet cannot be read as Parquet: ",
        ),
    ] {
        place.file(name, content);
        let folder = name.split('/').next().expect("a folder");
        let said = message(
            &check(&place, folder, format, &[r#"{"minRows":1}"#]),
            FailureReason::InputUnreadable,
        );
        assert!(said.starts_with(says), "{said}");
    }
    let said = message(
        &check(&place, "nowhere", "CSV", &[]),
        FailureReason::InputNotFound,
    );
    assert!(
        said.starts_with("input 'in': there is nothing at ") && said.ends_with("/nowhere"),
        "{said}"
    );
}

#[test]
fn the_digest_is_that_of_run() {
    let place = Place::new();
    people(&place);
    place.file("raw/deep/a", "no format");
    let raw = format!("raw={}", place.path("raw").display());
    let data = format!("data={}", place.path("CSV").display());
    let inputs = [
        "--input",
        &raw,
        "--input",
        &data,
        "--input-format",
        "data=CSV",
    ];
    let mut arguments = vec!["check"];
    arguments.extend(inputs);
    arguments.extend(["--check", r#"data={"minRows":1}"#]);
    let checked = place.agent(&arguments);
    let trained = place.train(&inputs, "true");
    let checked = held(&checked);
    for (checked, read) in checked.inputs.iter().zip(&trained.training().inputs) {
        assert_eq!((&checked.name, &checked.tree), (&read.name, &read.tree));
    }
    assert_eq!(
        checked
            .inputs
            .iter()
            .map(|input| input.rows)
            .collect::<Vec<_>>(),
        [None, Some(10)]
    );
}

#[test]
fn packed_files_and_values_with_line_ends_are_read_whole() {
    let place = Place::new();
    place.file("in/a.csv", "n,text\n1,\"one\ntwo\"\n2,three\n");
    place.file("in/b.csv", "n,text\n3,four\n");
    let packed = std::process::Command::new("gzip")
        .arg(place.path("in/b.csv"))
        .status();
    assert!(packed.expect("gzip").success());
    let ended = check(
        &place,
        "in",
        "CSV",
        &[r#"{"column":"n","max":"3","oneOf":["1","2","3"]}"#],
    );
    assert_eq!(held(&ended).inputs[0].rows, Some(3));
    place.file("json/b.json", "{\"n\": 1}\n{\"n\": 2}\n");
    let packed = std::process::Command::new("gzip")
        .arg(place.path("json/b.json"))
        .status();
    assert!(packed.expect("gzip").success());
    let ended = check(&place, "json", "JSON", &[r#"{"column":"n","max":"2"}"#]);
    assert_eq!(held(&ended).inputs[0].rows, Some(2));
}

#[test]
fn a_large_file_is_not_cut_inside_of_a_value() {
    let place = Place::new();
    // More than DataFusion reads as one piece, and of every line end one in a hundred ends a row.
    let mut rows = "n,text\n".to_owned();
    for n in 0..400 {
        let text = format!("{}\n", "1,".repeat(200)).repeat(100);
        writeln!(rows, "{n},\"{text}\"").expect("text");
    }
    place.file("in/a.csv", rows);
    let whole = r#"{"column":"n","max":"399","unique":true,"type":"Integer"}"#;
    let ended = with(&place, "in", "CSV", &[whole], &["--parallel=4"]);
    assert_eq!(held(&ended).inputs[0].rows, Some(400));
}

#[test]
fn a_key_of_many_rows_is_counted_in_little_memory() {
    let place = Place::new();
    let rows = 150_000_i64;
    let ids = (0..rows).map(|row| {
        format!(
            "a-rather-long-identifier-of-a-row-{}",
            if row == 7 { 8 } else { row }
        )
    });
    write(
        &place.path("in/a.parquet"),
        vec![("id", Arc::new(StringArray::from_iter_values(ids)))],
    );
    let ended = with(
        &place,
        "in",
        "Parquet",
        &[r#"{"column":"id","unique":true}"#],
        &["--memory=16", "--parallel=1"],
    );
    assert_eq!(
        message(&ended, FailureReason::CheckFailed),
        "input 'in', column 'id', unique: 1 of 150,000 rows (less than 0.1%) repeats the value of another: 1 value is there more than once, 'a-rather-long-identifier-of-a-row-8' 2 times"
    );
}

#[test]
fn what_is_added_after_a_check_belongs_to_a_later_training() {
    let place = Place::new();
    place.file("in/2026/a.csv", "n\n1\n");
    let ended = check(&place, "in", "CSV", &[r#"{"column":"n"}"#]);
    let input = &held(&ended).inputs[0];
    let as_of = input.as_of.expect("a folder has a time");
    place.file("in/2026/b.csv", "n\n2\n");
    let address = format!("in={}", place.path("in").display());
    let (digest, as_of) = (format!("in={}", input.tree.digest), format!("in={as_of}"));
    let digested = ["--input", &address, "--input-digest", &digest];
    let grown = place.train(&digested, "true");
    assert_eq!(grown.failure().reason, FailureReason::DigestMismatch);
    let script = r#"ls -R "$WINDLASS_INPUT_IN" > "$WINDLASS_OUTPUT/seen"; cat "$WINDLASS_INPUT_IN"/2026/*.csv >> "$WINDLASS_OUTPUT/seen""#;
    let out = place.path("out");
    let out = out.to_string_lossy();
    let mut arguments = digested.to_vec();
    arguments.extend(["--input-as-of", &as_of, "--output", &out]);
    place.train(&arguments, script).training();
    let seen = place.read("out/seen");
    assert!(seen.contains("a.csv") && !seen.contains("b.csv"), "{seen}");
    // What was checked has to be there as it was.
    std::thread::sleep(std::time::Duration::from_millis(30));
    place.file("in/2026/a.csv", "n\n3\n");
    let changed = place.train(&arguments, "true");
    assert_eq!(changed.failure().reason, FailureReason::InputNotFound);
}
