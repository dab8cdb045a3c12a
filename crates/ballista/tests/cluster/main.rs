//! A scheduler and executors as programs on this machine, against what one program counts by itself.

mod data;
mod programs;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use windlass_agent::{drift, profile};

use self::data::Data;
use self::programs::{Cluster, Executor};

/// Of what follows the name of a command.
#[derive(Parser)]
struct Profile {
    #[command(flatten)]
    arguments: profile::Arguments,
}

#[derive(Parser)]
struct Drift {
    #[command(flatten)]
    arguments: drift::Arguments,
}

fn with_command<'a>(command: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [&[command][..], arguments].concat()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// The profile as this program makes it.
async fn profile_here(arguments: &[&str], output: &Path) -> Vec<u8> {
    let arguments = [
        &with_command("profile", arguments)[..],
        &["-o", text(output)],
    ]
    .concat();
    let line = Profile::parse_from(arguments);
    let made = profile::by_hand(&line.arguments).await;
    made.expect("a profile");
    std::fs::read(output).expect("a profile")
}

/// What is asked of all data here: numbers and names, units, and segments.
fn asked(data: &Path) -> Vec<&str> {
    vec![
        text(data),
        "--unit",
        "user",
        "--segment",
        "plan = 'free'",
        "--segment",
        "spend > 100",
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_makes_the_profile_of_one_machine_byte_for_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Data::small().write(&folder.path().join("data"));
    let mut cluster = Cluster::start(folder.path(), 2);
    let output = folder.path().join("cluster.json");
    let asked = asked(&data);
    let client = cluster.client("profile", &[&asked[..], &["-o", text(&output)]].concat());
    let outcome = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{said}");
    let here = profile_here(&asked, &folder.path().join("here.json")).await;
    assert!(here.len() > 10_000, "{}", here.len());
    let there = std::fs::read(&output).expect("a profile");
    assert!(here == there, "the profiles are not the same bytes");
    for executor in cluster.executors() {
        assert!(executor.has_counted() > 0, "an executor has none");
    }
    cluster.stop();
}

/// An executor is killed when it has counted a part, and counts another: what it had counted is lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_killed_in_mid_query_changes_no_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Data::large().write(&folder.path().join("data"));
    let mut cluster = Cluster::start(folder.path(), 2);
    let output = folder.path().join("cluster.json");
    let asked = asked(&data);
    let mut client = cluster.client("profile", &[&asked[..], &["-o", text(&output)]].concat());
    let until = Instant::now() + Duration::from_mins(2);
    while cluster.executors()[0].begun() < 2 {
        let is_over = client.try_wait().expect("it is ours").is_some();
        assert!(
            !is_over && Instant::now() < until,
            "no part was counted in time"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let (counted, begun) = cluster.kill_executor(0);
    assert!(
        client.try_wait().expect("it is ours").is_none(),
        "all was counted before the executor was killed: make the data larger"
    );
    let outcome = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned() + &cluster.logs();
    assert!(outcome.status.success(), "{said}");
    // It was not asked once more: what was lost was counted again.
    assert!(!said.contains("it is asked again"), "{said}");
    assert!(
        0 < counted && counted < begun,
        "{counted} of {begun} were counted"
    );
    assert_eq!(
        cluster.executors()[0].has_counted(),
        8,
        "the other has counted all"
    );
    let here = profile_here(&asked, &folder.path().join("here.json")).await;
    let there = std::fs::read(&output).expect("a profile");
    assert!(here == there, "the profiles are not the same bytes");
    cluster.stop();
}

/// It goes when it has nothing to count any more, while the other counts the last part: nothing tells the scheduler in time,
/// and what it had counted is missed when it is brought together.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_after_it_was_counted_is_counted_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Data::large().write(&folder.path().join("data"));
    let mut cluster = Cluster::start(folder.path(), 2);
    let output = folder.path().join("cluster.json");
    let asked = asked(&data);
    let mut client = cluster.client("profile", &[&asked[..], &["-o", text(&output)]].concat());
    let until = Instant::now() + Duration::from_mins(5);
    let idle = loop {
        let is_over = client.try_wait().expect("it is ours").is_some();
        let is_late = Instant::now() > until;
        assert!(!is_over && !is_late, "no executor was without a part");
        let executors = cluster.executors();
        let begun: Vec<usize> = executors.iter().map(Executor::begun).collect();
        let counted: Vec<usize> = executors.iter().map(Executor::counted).collect();
        if begun.iter().sum::<usize>() == 8 && counted.iter().sum::<usize>() == 7 {
            break usize::from(begun[0] > counted[0]);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    cluster.kill_executor(idle);
    let outcome = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned() + &cluster.logs();
    assert!(outcome.status.success(), "{said}");
    assert!(!said.contains("it is asked again"), "{said}");
    let here = profile_here(&asked, &folder.path().join("here.json")).await;
    let there = std::fs::read(&output).expect("a profile");
    assert!(here == there, "the profiles are not the same bytes");
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_on_drift_is_that_of_one_machine_with_its_page_and_its_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let reference = Data::small().write(&folder.path().join("reference"));
    let current = Data::drifted().write(&folder.path().join("current"));
    let mut cluster = Cluster::start(folder.path(), 2);
    let page = |name: &str| -> PathBuf { folder.path().join(name) };
    let (there, here) = (page("there.html"), page("here.html"));
    let asked = |page: &'static str| -> Vec<String> {
        let page = folder.path().join(page);
        let all = [
            text(&reference),
            text(&current),
            "--unit",
            "user",
            "--segment",
            "plan = 'free'",
            "--html",
            text(&page),
        ];
        all.map(str::to_owned).to_vec()
    };
    let of_client = asked("there.html");
    let of_client: Vec<&str> = of_client.iter().map(String::as_str).collect();
    let client = cluster.client("drift", &of_client);
    let outcome = client.wait_with_output().expect("it ends");
    let of_here = asked("here.html");
    let of_here: Vec<&str> = of_here.iter().map(String::as_str).collect();
    let line = Drift::parse_from(with_command("drift", &of_here));
    let results = drift::by_hand(&line.arguments).await.expect("a verdict");
    drift::write_page(&line.arguments, &results)
        .await
        .expect("written");
    let said = String::from_utf8_lossy(&outcome.stderr);
    let code = drift::table::exit_code(results.verdict);
    assert!(code > 0, "it has drifted");
    assert_eq!(outcome.status.code(), Some(i32::from(code)), "{said}");
    let read = |page: &Path| std::fs::read_to_string(page).expect("a page");
    assert!(read(&there) == read(&here), "the pages are not the same");
    cluster.stop();
}

/// The data's fault is told as one machine tells it, and the cluster is not asked again for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_torn_page_is_named_and_not_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Data::small().write(&folder.path().join("data"));
    let torn = data.join("2.parquet");
    let mut bytes = std::fs::read(&torn).expect("read");
    bytes[5000..20_000].fill(0xff);
    std::fs::write(&torn, bytes).expect("written");
    let mut cluster = Cluster::start(folder.path(), 1);
    let output = folder.path().join("never.json");
    let client = cluster.client("profile", &[text(&data), "-o", text(&output)]);
    let outcome = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&outcome.stderr);
    let line = Profile::parse_from(["profile", text(&data), "-o", text(&output)]);
    let here = profile::by_hand(&line.arguments).await;
    let here = here.expect_err("it cannot be read");
    assert!(here.message.contains("2.parquet"), "{}", here.message);
    assert!(said.contains(&here.message), "{said}");
    assert!(!said.contains("it is asked again"), "{said}");
    assert!(!outcome.status.success() && !output.exists());
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_is_told_from_data_that_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Data::small().write(&folder.path().join("data"));
    let output = folder.path().join("never.json");
    let nowhere = format!("ballista://127.0.0.1:{}", programs::free_port());
    let client = programs::client(&nowhere, "profile", &[text(&data), "-o", text(&output)]);
    let outcome = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(said.contains("InputUnreachable"), "{said}");
    assert!(
        said.contains(&nowhere) && said.contains("see whether"),
        "{said}"
    );
    assert!(!outcome.status.success() && !output.exists());
}
