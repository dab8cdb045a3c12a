//! The node of a plan that counts: of each part that its input names, what the agent's own code says.
//!
//! ```text
//!   parts: a partition each, in memory ──> LaneExec ──> part, piece, of how many, bytes
//! ```
//!
//! Parts come from an input, and are not the node's own, because a scheduler of Ballista's cuts a plan into tasks at leaves
//! that it knows (`select_output_partitions` in its `task_builder.rs`, 55.0): a leaf of ours would be run whole by each task.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{exec_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};
use windlass_agent::profile::reading::parts::answer;

/// How many bytes of an answer go in a row: messages between machines are bounded.
const PIECE: usize = 1 << 20;

/// Counts the parts that its input names.
pub struct LaneExec {
    work: Arc<Vec<u8>>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

/// What is known of a part: its number, and what it is.
pub fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("part", DataType::UInt32, false),
        Field::new("description", DataType::Binary, false),
    ]))
}

/// The one row that names a part.
pub fn input_of(part: u32, description: &[u8]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(vec![part])),
        Arc::new(BinaryArray::from_vec(vec![description])),
    ];
    Ok(RecordBatch::try_new(input_schema(), columns)?)
}

/// A piece of what was counted of a part.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The part's number.
    pub part: u32,
    /// The piece's own, from 0.
    pub number: u32,
    /// How many there are.
    pub pieces: u32,
    /// Bytes of the answer.
    pub bytes: Vec<u8>,
}

fn output_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("part", DataType::UInt32, false),
        Field::new("piece", DataType::UInt32, false),
        Field::new("pieces", DataType::UInt32, false),
        Field::new("bytes", DataType::Binary, false),
    ]))
}

impl Piece {
    fn batch(part: u32, piece: usize, pieces: usize, bytes: &[u8]) -> Result<RecordBatch> {
        let number = |number: usize| -> ArrayRef {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            Arc::new(UInt32Array::from(vec![number]))
        };
        let columns = vec![
            Arc::new(UInt32Array::from(vec![part])) as ArrayRef,
            number(piece),
            number(pieces),
            Arc::new(BinaryArray::from_vec(vec![bytes])),
        ];
        Ok(RecordBatch::try_new(output_schema(), columns)?)
    }

    /// Those that a batch has.
    ///
    /// # Errors
    /// That it is none of this node's.
    pub fn of(batch: &RecordBatch) -> Result<Vec<Self>> {
        let columns = batch.columns();
        let [part, piece, pieces, bytes] = columns else {
            return internal_err!("a part's answer has {} columns", columns.len());
        };
        let number = |column: &ArrayRef, row: usize| {
            let column = column.as_primitive_opt::<UInt32Type>();
            column.map(|column| column.value(row))
        };
        let mut all = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let numbers = (number(part, row), number(piece, row), number(pieces, row));
            let bytes = bytes.as_binary_opt::<i32>();
            let ((Some(part), Some(piece), Some(pieces)), Some(bytes)) = (numbers, bytes) else {
                return internal_err!("a part's answer has columns of other types");
            };
            all.push(Self {
                part,
                number: piece,
                pieces,
                bytes: bytes.value(row).to_vec(),
            });
        }
        Ok(all)
    }
}

impl LaneExec {
    /// Of what parts have in common, and of an input of [`input_schema`].
    pub fn new(work: Arc<Vec<u8>>, input: Arc<dyn ExecutionPlan>) -> Self {
        let partitions = input.properties().output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(output_schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            work,
            input,
            properties: Arc::new(properties),
        }
    }

    /// What parts have in common.
    pub fn work(&self) -> &[u8] {
        &self.work
    }
}

impl fmt::Debug for LaneExec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("LaneExec");
        debug.field("input", &self.input).finish_non_exhaustive()
    }
}

impl DisplayAs for LaneExec {
    fn fmt_as(&self, _: DisplayFormatType, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "LaneExec")
    }
}

impl ExecutionPlan for LaneExec {
    fn name(&self) -> &'static str {
        "LaneExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("LaneExec has one input");
        };
        Ok(Arc::new(Self::new(Arc::clone(&self.work), input)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let work = Arc::clone(&self.work);
        let parts = self.input.execute(partition, context)?;
        let answers = parts.then(move |parts| {
            let work = Arc::clone(&work);
            async move { counted(&work, &parts?).await }
        });
        let pieces = answers.map_ok(|pieces| stream::iter(pieces).map(Ok::<_, DataFusionError>));
        let schema = output_schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            pieces.try_flatten(),
        )))
    }
}

/// What is counted of the parts that a batch names, piece by piece.
async fn counted(work: &[u8], parts: &RecordBatch) -> Result<Vec<RecordBatch>> {
    let numbers = parts.column(0).as_primitive_opt::<UInt32Type>();
    let descriptions = parts.column(1).as_binary_opt::<i32>();
    let (Some(numbers), Some(descriptions)) = (numbers, descriptions) else {
        return exec_err!("what names a part is a number and bytes");
    };
    let mut all = Vec::new();
    for row in 0..parts.num_rows() {
        let answer = answer(work, descriptions.value(row)).await;
        let pieces = answer.len().div_ceil(PIECE);
        for (piece, bytes) in answer.chunks(PIECE).enumerate() {
            all.push(Piece::batch(numbers.value(row), piece, pieces, bytes)?);
        }
    }
    Ok(all)
}
