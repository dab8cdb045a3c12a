//! On how many processors something is measured.

use std::process::Command;

/// Leaves no more than two processors to this thread and to all that it starts.
pub fn take_two() {
    // By a program: with its system call, rustix would have another feature, and DataFusion, which stands on it, would be
    // built once more for benchmarks alone.
    let status = std::fs::read_to_string("/proc/self/status").expect("what the kernel says");
    let listed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .expect("the processors are known");
    let number = |text: &str| text.trim().parse::<usize>().expect("a processor");
    let two: Vec<String> = listed
        .split(',')
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            number(first)..=number(last)
        })
        .take(2)
        .map(|processor| processor.to_string())
        .collect();
    let taken = Command::new("taskset")
        .args(["--cpu-list", "--pid", &two.join(",")])
        .arg(std::process::id().to_string())
        .output()
        .expect("taskset runs");
    let said = String::from_utf8_lossy(&taken.stderr);
    assert!(taken.status.success(), "{said}");
}
