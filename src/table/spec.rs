//! What a table should be: schema, comments, partitions, properties.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{Action, Metadata, MetadataExt, Protocol, StructType, new_metadata};

use crate::error::{Context, Error, Kind, Result};

/// The configuration key that says which layer of which pipeline a table is.
pub(super) const OWNER: &str = "medallion.table";
/// The configuration key with the fingerprint of the definition that wrote the table.
pub(super) const FINGERPRINT: &str = "medallion.fingerprint";
/// The configuration key with the canonical definition, JSON, so that a change can be named.
pub(super) const DEFINITION: &str = "medallion.definition";

/// The configuration key with the id of the table's content: new whenever a replay swaps it.
pub(super) const GENERATION: &str = "medallion.generation";
/// The configuration key with the generation of the table that this one was computed from.
pub(super) const UPSTREAM: &str = "medallion.upstream";

/// The configuration key with the bronze seq from which a changed definition applies to a table that kept its rows.
pub(super) const ADOPTED_FROM: &str = "medallion.adoptedFrom";
/// The configuration key with the end of the last window that had closed before that, in microseconds.
pub(super) const ADOPTED_CLOSED: &str = "medallion.adoptedClosed";

/// A table as a layer wants it.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Path relative to the lake, `view_log/gold/views_per_minute`; also the owner mark in the table.
    pub path: String,
    /// What a row is, for the table's comment.
    pub comment: String,
    /// All columns, partition columns included, comments in the field metadata under `comment`.
    pub schema: SchemaRef,
    /// Partition columns.
    pub partition_by: Vec<String>,
    /// The column that holds the bronze seq, by which readers take rows; none for gold.
    pub seq_column: Option<String>,
    /// Whether rows may only be added, `delta.appendOnly`.
    pub append_only: bool,
    /// Prefix of the transaction app ids that only this table's writer uses.
    pub app_prefix: String,
    /// Fingerprint of the definition; empty for tables that no definition shapes.
    pub fingerprint: String,
    /// The canonical definition, key to value.
    pub definition: Vec<(String, String)>,
    /// Generation of the content that a new or swapped table gets; empty for tables that are never swapped.
    pub generation: String,
    /// Generation of the upstream content that the rows are computed from; empty for bronze and silver.
    pub upstream: String,
}

impl TableSpec {
    /// The first commit's actions: protocol and metadata.
    pub(super) fn create_actions(&self) -> Result<Vec<Action>> {
        let protocol: Protocol = serde_json::from_value(serde_json::json!({
            "minReaderVersion": 1,
            "minWriterVersion": 2,
        }))
        .or_fail(Kind::Bug, || "building the Delta protocol action")?;
        Ok(vec![Action::Protocol(protocol), Action::Metadata(self.metadata()?)])
    }

    /// The table's metadata action with a fresh table id.
    pub(super) fn metadata(&self) -> Result<Metadata> {
        let bug = || format!("building the metadata of {}", self.path);
        let mut configuration: BTreeMap<&str, String> = BTreeMap::from([
            (OWNER, self.path.clone()),
            ("delta.checkpointInterval", "100".to_owned()),
            ("delta.logRetentionDuration", "interval 7 days".to_owned()),
            ("delta.deletedFileRetentionDuration", "interval 7 days".to_owned()),
            ("delta.enableExpiredLogCleanup", "false".to_owned()),
        ]);
        if self.append_only {
            configuration.insert("delta.appendOnly", "true".to_owned());
        }
        if !self.fingerprint.is_empty() {
            configuration.insert(FINGERPRINT, self.fingerprint.clone());
            let definition: BTreeMap<&str, &str> = self
                .definition
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            configuration.insert(DEFINITION, serde_json::to_string(&definition).or_fail(Kind::Bug, bug)?);
        }
        for (key, value) in [(GENERATION, &self.generation), (UPSTREAM, &self.upstream)] {
            if !value.is_empty() {
                configuration.insert(key, value.clone());
            }
        }
        new_metadata(&self.struct_type()?, &self.partition_by, configuration)
            .and_then(|metadata| metadata.with_description(self.comment.clone()))
            .and_then(|metadata| metadata.with_name(self.path.replace('/', ".")))
            .or_fail(Kind::Bug, bug)
    }

    /// The Delta schema of the table.
    pub(super) fn struct_type(&self) -> Result<StructType> {
        self.schema
            .as_ref()
            .try_into_kernel()
            .or_fail(Kind::Bug, || format!("the Delta schema of {}", self.path))
    }

    /// Refuses a table that is not ours or whose columns are not what this definition writes.
    pub(super) fn check(&self, metadata: &Metadata) -> Result<()> {
        match metadata.configuration().get(OWNER) {
            Some(owner) if *owner == self.path => {}
            Some(owner) => {
                return Err(Error::new(
                    Kind::Damaged,
                    format!("the table at {} says that it is {owner}", self.path),
                )
                .with_next("point --lake at the right lake, or move that table away"));
            }
            None => {
                return Err(Error::new(
                    Kind::Damaged,
                    format!(
                        "the table at {} was not made by medallion; it stays as it is",
                        self.path
                    ),
                )
                .with_next("choose another --lake, or move that table away"));
            }
        }
        if metadata
            .configuration()
            .contains_key("delta.setTransactionRetentionDuration")
        {
            return Err(Error::new(
                Kind::Damaged,
                format!(
                    "table {} has delta.setTransactionRetentionDuration: positions would expire with it",
                    self.path
                ),
            )
            .with_next("unset that property"));
        }
        let differs = |what: &str, found: String, wanted: String| {
            Error::new(
                Kind::Damaged,
                format!(
                    "table {} has other {what} than this definition writes: {found}; wanted {wanted}",
                    self.path
                ),
            )
        };
        let found = columns(
            &metadata
                .parse_schema()
                .or_fail(Kind::Damaged, || format!("the schema of {}", self.path))?,
        );
        let wanted = columns(&self.struct_type()?);
        if found != wanted {
            return Err(differs("columns", found.join(", "), wanted.join(", "))
                .with_next("replay the layer if its definition changed; else restore the table"));
        }
        if *metadata.partition_columns() != self.partition_by {
            return Err(differs(
                "partition columns",
                metadata.partition_columns().join(", "),
                self.partition_by.join(", "),
            )
            .with_next("replay the layer"));
        }
        Ok(())
    }
}

fn columns(schema: &StructType) -> Vec<String> {
    schema
        .fields()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect()
}
