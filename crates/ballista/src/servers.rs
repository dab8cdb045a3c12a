//! The scheduler and the executors: Ballista's, with our node.

use std::net::SocketAddr;
use std::sync::Arc;

use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::start_server;
use windlass_agent::report::failure;
use windlass_api::agent::{FailureReason, FailureReport};

use crate::codec::Codec;

/// The scheduler's port, if no other is named.
pub const SCHEDULER_PORT: u16 = 50050;
/// How large a message may be: a plan has where the cells of each column of a reference begin.
pub const MESSAGE_BYTES: u32 = 256 << 20;
/// How long answers are kept on an executor's disk that nobody fetched, and how often that is looked at.
const KEPT_SECONDS: u64 = 3600;
const LOOKED_AT_SECONDS: u64 = 600;

/// Arguments of `windlass-ballista scheduler`.
#[derive(Clone, Debug, clap::Args)]
pub struct SchedulerArguments {
    /// The address and port that it listens at.
    #[arg(long, default_value = "0.0.0.0:50050", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The name by which executors find it.
    #[arg(long, default_value = "localhost", value_name = "HOST")]
    pub host: String,
    /// After how many seconds without a word an executor is lost, and what it had is given to others.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..))]
    pub lost_after: u64,
}

/// Arguments of `windlass-ballista executor`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExecutorArguments {
    /// The host of the scheduler.
    #[arg(long, value_name = "HOST")]
    pub scheduler: String,
    /// The scheduler's port.
    #[arg(long, default_value_t = SCHEDULER_PORT, value_name = "PORT")]
    pub scheduler_port: u16,
    /// The address that it listens at.
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub listen: String,
    /// The address by which the scheduler finds it.
    #[arg(long, env = "POD_IP", value_name = "HOST")]
    pub host: Option<String>,
    /// The port that answers are fetched from.
    #[arg(long, default_value_t = 50051, value_name = "PORT")]
    pub port: u16,
    /// The port that it is given parts at.
    #[arg(long, default_value_t = 50052, value_name = "PORT")]
    pub tasks_port: u16,
    /// How many parts it counts at once; 0 is as many as there are cores.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub at_once: usize,
    /// The folder that answers are kept in until they are fetched.
    #[arg(long, value_name = "DIRECTORY")]
    pub work_dir: Option<String>,
    /// How often it says that it is there, in seconds; well below the scheduler's `--lost-after`.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub heartbeat: u64,
}

/// Runs a scheduler, until it is told to stop.
pub async fn scheduler(arguments: SchedulerArguments) -> Result<(), FailureReport> {
    let config = SchedulerConfig {
        external_host: arguments.host,
        bind_host: arguments.listen.ip().to_string(),
        bind_port: arguments.listen.port(),
        task_distribution: TaskDistributionPolicy::RoundRobin,
        // A client then needs a way to the scheduler alone.
        enable_embedded_flight_proxy: true,
        executor_timeout_seconds: arguments.lost_after,
        expire_dead_executor_interval_seconds: (arguments.lost_after / 4).max(1),
        no_executors_grace_period_seconds: arguments.lost_after,
        grpc_server_max_decoding_message_size: MESSAGE_BYTES,
        grpc_server_max_encoding_message_size: MESSAGE_BYTES,
        grpc_client_max_message_size: MESSAGE_BYTES,
        override_physical_codec: Some(Arc::new(Codec::default())),
        ..SchedulerConfig::default()
    };
    let served = async {
        let cluster = BallistaCluster::new_from_config(&config).await?;
        start_server(cluster, arguments.listen, Arc::new(config)).await
    };
    served.await.map_err(|problem| {
        let message = format!("the scheduler at {}: {problem}", arguments.listen);
        failure(FailureReason::Internal, message)
    })
}

/// Runs an executor, until it is told to stop and has ended what it counts.
pub async fn executor(arguments: ExecutorArguments) -> Result<(), FailureReport> {
    let listen = format!("{}:{}", arguments.listen, arguments.port);
    let config = ExecutorProcessConfig {
        bind_host: arguments.listen,
        external_host: arguments.host,
        port: arguments.port,
        grpc_port: arguments.tasks_port,
        scheduler_host: arguments.scheduler,
        scheduler_port: arguments.scheduler_port,
        scheduler_connect_timeout_seconds: 60,
        vcores: arguments.at_once,
        work_dir: arguments.work_dir,
        job_data_ttl_seconds: KEPT_SECONDS,
        job_data_clean_up_interval_seconds: LOOKED_AT_SECONDS,
        grpc_max_decoding_message_size: MESSAGE_BYTES,
        grpc_max_encoding_message_size: MESSAGE_BYTES,
        executor_heartbeat_interval_seconds: arguments.heartbeat,
        override_physical_codec: Some(Arc::new(Codec::default())),
        ..ExecutorProcessConfig::default()
    };
    let served = start_executor_process(Arc::new(config)).await;
    served.map_err(|problem| {
        let message = format!("the executor at {listen}: {problem}");
        failure(FailureReason::Internal, message)
    })
}
