//! SQL over the tables: a read-only DataFusion session.

use std::sync::Arc;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;

use super::Lake;
use super::load::load;
use crate::error::{Context, Error, Kind, Result};

/// A table as SQL names it.
pub struct Queryable {
    /// The schema, a pipeline's name.
    pub schema: String,
    /// The table's name in it.
    pub name: String,
    /// Its path in the lake.
    pub path: String,
}

/// A session in UTC in which the tables that exist are registered as `schema.name`; `default_schema` needs no prefix.
pub async fn session(lake: &Lake, tables: &[Queryable], default_schema: &str) -> Result<SessionContext> {
    let context = SessionContext::new_with_config(config(default_schema));
    register(&context, lake, tables).await?;
    Ok(context)
}

/// As [`session`], for a query of someone else: its sorts, joins and aggregates may hold `memory` bytes between them,
/// and beyond that it fails. Nothing is spilled, because such a query writes no file.
pub async fn bounded_session(
    lake: &Lake,
    tables: &[Queryable],
    default_schema: &str,
    memory: usize,
) -> Result<SessionContext> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()
        .or_fail(Kind::Bug, || "the query session")?;
    let context = SessionContext::new_with_config_rt(config(default_schema), runtime);
    register(&context, lake, tables).await?;
    Ok(context)
}

fn config(default_schema: &str) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema("medallion", default_schema)
        .with_information_schema(true);
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    config
}

async fn register(context: &SessionContext, lake: &Lake, tables: &[Queryable]) -> Result<()> {
    let catalog = context
        .catalog("medallion")
        .ok_or_else(|| Error::new(Kind::Bug, "the query session has no catalog"))?;
    for table in tables {
        let what = || format!("registering {}.{}", table.schema, table.name);
        let Some(delta) = load(&lake.log_store(&table.path)?).await? else {
            continue;
        };
        let schema = match catalog.schema(&table.schema) {
            Some(schema) => schema,
            None => {
                let schema = Arc::new(MemorySchemaProvider::new());
                catalog
                    .register_schema(&table.schema, schema.clone())
                    .or_fail(Kind::Bug, what)?;
                schema
            }
        };
        delta
            .update_datafusion_session(&context.state())
            .or_fail(Kind::Bug, what)?;
        let provider = delta.table_provider().await.or_fail(Kind::Damaged, what)?;
        schema
            .register_table(table.name.clone(), provider)
            .or_fail(Kind::Bug, what)?;
    }
    Ok(())
}
