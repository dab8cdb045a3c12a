//! What can be seen of the operator from outside.

use anyhow::Result;

use crate::objects::{self, Looking};
use crate::support::operator::Operator;
use crate::turn;

#[tokio::test]
async fn endpoints_answer_logs_are_json_and_events_tell() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "seeing");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "seeing")?;
    kubectl.apply(&objects::training(space, "train", ""))?;
    let look = Looking::new(&bed.client().await?, space);
    look.until_job("train-1", None).await;
    look.until("train", "Reconciling").await;

    for path in ["/livez", "/readyz"] {
        let answer = operator.get(path)?;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"),
            "{path}: {answer}"
        );
    }
    assert!(operator.get("/nothing")?.starts_with("HTTP/1.1 404"));
    let metrics = operator.get("/metrics")?;
    for line in [
        "windlass_leading 1",
        "windlass_writes_total{kind=\"Job\",verb=\"apply\"}",
        "windlass_reconciles_total{kind=\"TrainingJob\",outcome=\"ok\"}",
        "# EOF",
    ] {
        assert!(
            metrics.lines().any(|found| found.starts_with(line)),
            "{line} is not in\n{metrics}"
        );
    }
    let events = kubectl.run(&["get", "events.events.k8s.io", "-n", space, "-o", "jsonpath={range .items[*]}{.reason} {.regarding.kind}/{.regarding.name}: {.note}{'\\n'}{end}"])?;
    assert!(
        events.contains("AttemptStarted TrainingJob/train: started attempt 1"),
        "{events}"
    );

    let said = operator.said();
    assert!(said.lines().count() >= 3, "{said}");
    for line in said.lines() {
        let entry: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        for field in ["timestamp", "level", "fields", "target"] {
            assert!(entry.get(field).is_some(), "{field} is not in {line}");
        }
        // The shipped rights are enough: nothing was refused.
        assert!(!line.contains("orbidden"), "{line}");
    }
    assert!(operator.stop()?.success());
    Ok(())
}
