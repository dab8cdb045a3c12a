//! Has a Ballista cluster count: sends a plan, and puts together what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::{
    BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE, BALLISTA_JOB_NAME,
    BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK,
};
use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt;
use datafusion::common::exec_err;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt};
use tracing::warn;
use url::Url;
use windlass_agent::profile::reading::parts::Engine;
use windlass_agent::report::failure;
use windlass_api::agent::{FailureReason, FailureReport};

use crate::codec::Codec;
use crate::lane::{LaneExec, Piece, input_of, input_schema};
use crate::servers::{MESSAGE_BYTES, SCHEDULER_PORT};

/// How often a plan is sent where the cluster fails, and after how long.
const ATTEMPTS: u32 = 3;
const BETWEEN: Duration = Duration::from_secs(2);

/// A Ballista cluster, by its scheduler.
#[derive(Debug)]
pub struct Ballista {
    address: String,
    scheduler: String,
}

impl Ballista {
    /// At an address `ballista://host:port`.
    ///
    /// # Errors
    /// [`FailureReason::InvalidArguments`].
    pub fn at(address: &str) -> Result<Self, FailureReport> {
        let url = Url::parse(address).ok();
        let url = url.filter(|url| url.scheme() == "ballista" && matches!(url.path(), "" | "/"));
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        if host.is_empty() {
            let message = format!(
                "--engine {address} is no address of a scheduler: accepted is ballista://HOST:PORT"
            );
            return Err(failure(FailureReason::InvalidArguments, message));
        }
        let port = url.as_ref().and_then(Url::port).unwrap_or(SCHEDULER_PORT);
        Ok(Self {
            address: address.to_owned(),
            scheduler: format!("http://{host}:{port}"),
        })
    }

    async fn once(&self, work: &Arc<Vec<u8>>, parts: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let config = config()?;
        let stream = execute_physical_plan::<PhysicalPlanNode>(
            self.scheduler.clone(),
            &config.ballista_config(),
            plan(work, parts)?,
            &Codec::default(),
            uuid::Uuid::new_v4().to_string(),
            config,
        )
        .await?;
        let mut pieces = BTreeMap::new();
        let mut batches = stream;
        while let Some(batch) = batches.try_next().await? {
            for piece in Piece::of(&batch)? {
                pieces.insert((piece.part, piece.number), piece);
            }
        }
        together(pieces, parts.len())
    }
}

impl Engine for Ballista {
    fn answers(
        &self,
        work: Vec<u8>,
        parts: Vec<Vec<u8>>,
    ) -> BoxFuture<'_, Result<Vec<Vec<u8>>, FailureReport>> {
        async move {
            let work = Arc::new(work);
            let mut attempt = 1;
            loop {
                match self.once(&work, &parts).await {
                    Ok(answers) => return Ok(answers),
                    // An executor that goes when all is counted and brought together takes it with it.
                    Err(problem) if attempt < ATTEMPTS => {
                        let problem = problem.strip_backtrace();
                        warn!(attempt, "the Ballista cluster at {} did not count: {problem}; it is asked again", self.address);
                        tokio::time::sleep(BETWEEN * attempt).await;
                        attempt += 1;
                    }
                    Err(problem) => return Err(self.failed(&problem)),
                }
            }
        }
        .boxed()
    }
}

impl Ballista {
    fn failed(&self, problem: &DataFusionError) -> FailureReport {
        let message = format!(
            "the Ballista cluster at {} did not count in {ATTEMPTS} attempts: {}; see whether its scheduler and executors run, and what they log",
            self.address,
            problem.strip_backtrace()
        );
        failure(FailureReason::InputUnreachable, message)
    }
}

/// A part is a task, so that of an executor that is lost no more is counted again than need be.
fn config() -> Result<SessionConfig> {
    let mut config = SessionConfig::new_with_ballista();
    let options = config.options_mut();
    options.set(BALLISTA_JOB_NAME, "windlass")?;
    options.set(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, "1")?;
    options.set(
        BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE,
        &MESSAGE_BYTES.to_string(),
    )?;
    Ok(config)
}

/// Parts, and after them a stage that does no more than to bring together what was counted. In a plan's last stage a scheduler
/// of Ballista's (55.0, `update_stage_output_links` in its `execution_graph.rs`) counts again what was lost with an executor, but
/// tells the client to fetch what was lost too; of a stage before the last it does not.
fn plan(work: &Arc<Vec<u8>>, parts: &[Vec<u8>]) -> Result<Arc<dyn ExecutionPlan>> {
    let mut partitions = Vec::with_capacity(parts.len());
    for (number, part) in (0..).zip(parts) {
        partitions.push(vec![input_of(number, part)?]);
    }
    let input = MemorySourceConfig::try_new_exec(&partitions, input_schema(), None)?;
    let lanes = Arc::new(LaneExec::new(Arc::clone(work), input));
    Ok(Arc::new(CoalescePartitionsExec::new(lanes)))
}

/// Answers in the order of their parts, whatever the order in which their pieces came.
fn together(pieces: BTreeMap<(u32, u32), Piece>, parts: usize) -> Result<Vec<Vec<u8>>> {
    let mut answers: Vec<Vec<u8>> = vec![Vec::new(); parts];
    let mut missing = vec![None; parts];
    for piece in pieces.into_values() {
        let part = piece.part as usize;
        let Some((answer, missing)) = answers.get_mut(part).zip(missing.get_mut(part)) else {
            return exec_err!("part {part} was not asked for");
        };
        answer.extend(piece.bytes);
        *missing = Some(missing.unwrap_or(piece.pieces).saturating_sub(1));
    }
    match missing.iter().position(|missing| *missing != Some(0)) {
        Some(part) => exec_err!("of part {part} not all has come back"),
        None => Ok(answers),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::physical_plan::AsExecutionPlan;

    use super::*;

    fn piece(part: u32, piece: u32, pieces: u32, bytes: &[u8]) -> ((u32, u32), Piece) {
        let bytes = bytes.to_vec();
        let of = Piece {
            part,
            number: piece,
            pieces,
            bytes,
        };
        ((part, piece), of)
    }

    #[test]
    fn answers_are_in_the_order_of_their_parts_and_whole() {
        let all = [
            piece(1, 1, 2, b"d"),
            piece(0, 0, 1, b"ab"),
            piece(1, 0, 2, b"c"),
        ];
        let answers = together(all.clone().into(), 2).expect("whole");
        assert_eq!(answers, [b"ab".to_vec(), b"cd".to_vec()]);
        for lost in 0..3 {
            let mut some = all.to_vec();
            some.remove(lost);
            let problem = together(some.into_iter().collect(), 2).expect_err("not whole");
            assert!(problem.to_string().contains("not all has come back"));
        }
        assert!(together(all.into(), 1).is_err());
    }

    #[test]
    fn a_plan_that_is_sent_is_the_plan_that_was_made() {
        let work = Arc::new(b"work".to_vec());
        let made = plan(&work, &[b"one".to_vec(), b"two".to_vec()]).expect("a plan");
        let codec = Codec::default();
        let sent = PhysicalPlanNode::try_from_physical_plan(Arc::clone(&made), &codec);
        let mut bytes = Vec::new();
        sent.expect("sent").try_encode(&mut bytes).expect("written");
        let context = SessionContext::new().task_ctx();
        let read = PhysicalPlanNode::try_decode(&bytes).expect("read");
        let read = read
            .try_into_physical_plan(&context, &codec)
            .expect("a plan");
        let shown =
            |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
        assert_eq!(shown(&read), shown(&made));
        let lanes = Arc::clone(read.children()[0]);
        let lane = lanes.downcast_ref::<LaneExec>().expect("our node");
        assert_eq!(lane.work(), b"work");
        let partitions = lanes.properties().output_partitioning();
        assert_eq!(partitions.partition_count(), 2);
    }

    #[test]
    fn an_address_names_a_scheduler() {
        let scheduler = |address| Ballista::at(address).map(|ballista| ballista.scheduler);
        assert_eq!(
            scheduler("ballista://windlass-scheduler.ml:5000").expect("an address"),
            "http://windlass-scheduler.ml:5000"
        );
        assert_eq!(
            scheduler("ballista://host").expect("an address"),
            "http://host:50050"
        );
        for wrong in [
            "host:1",
            "http://host:1",
            "ballista://",
            "ballista://h/path",
            "",
        ] {
            let problem = scheduler(wrong).expect_err("no address");
            assert_eq!(problem.reason, FailureReason::InvalidArguments, "{wrong}");
        }
    }
}
