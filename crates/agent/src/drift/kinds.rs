//! What columns of strings hold, names or texts, where one side is a profile: that was told when it was made, and is not told anew.

use arrow::datatypes::SchemaRef;
use windlass_api::agent::{ColumnProfile, Distribution, FailureReason, FailureReport, Profile};

use super::arguments::Arguments;
use crate::arguments::Pair;
use crate::profile::look;
use crate::report::failure;

/// What a profile says that a column of strings holds, in the words of `--column-kind`.
fn kind(column: &ColumnProfile) -> Option<&'static str> {
    match &column.distribution {
        Distribution::Text { .. } => Some("Text"),
        Distribution::Category { .. } => Some("Category"),
        Distribution::Number { .. } | Distribution::Embedding { .. } => None,
    }
}

/// What columns of a reference are taken for: what a person says, or what they are in a window that is a profile. Else the two
/// would be of two kinds, and the data broken, where its own rows look otherwise.
pub fn of(arguments: &Arguments, window: Option<&Profile>, schema: &SchemaRef) -> Vec<Pair> {
    let columns = window.into_iter().flat_map(|window| &window.columns);
    let of_window = columns.filter_map(|column| {
        let field = schema.field_with_name(&column.name).ok()?;
        let data_type = field.data_type();
        let are_strings = look::is_needed(data_type) && !data_type.is_nested();
        let value = kind(column).filter(|_| are_strings)?.to_owned();
        let name = column.name.clone();
        Some(Pair { name, value })
    });
    // Of several for one column the last holds: that which a person has said.
    of_window.chain(arguments.kinds.iter().cloned()).collect()
}

/// That a person says otherwise than a profile, whose rows are counted already.
///
/// # Errors
/// [`FailureReason::InvalidArguments`].
pub fn check(arguments: &Arguments, profile: &Profile, uri: &str) -> Result<(), FailureReport> {
    for said in &arguments.kinds {
        let column = profile.columns.iter().find(|of| of.name == said.name);
        let known = column.and_then(kind);
        if let Some(known) = known.filter(|known| *known != said.value) {
            let message = format!(
                "--column-kind {}={}: in the profile at {uri} it was counted as {known}; make that anew with the same --column-kind",
                said.name, said.value
            );
            return Err(failure(FailureReason::InvalidArguments, message));
        }
    }
    Ok(())
}
