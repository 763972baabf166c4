//! Where each layer of a pipeline stands: positions, lag in rows and seconds, watermark.

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use serde::Serialize;

use super::{names, tables};
use crate::clock::{Micros, rfc3339};
use crate::definition::{Gold, Pipeline, gold_schema, silver_schema};
use crate::error::Result;
use crate::layer::bronze;
use crate::table::{Activity, Lake, Reader};

/// A layer's standing.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// `bronze`, `silver`, or a gold table's name.
    pub layer: String,
    /// The next seq.
    pub position: i64,
    /// Bronze rows not yet processed; for bronze what its source holds beyond it, none where that was not asked.
    pub lag_rows: Option<i64>,
    /// Age of the oldest of them in seconds, 0 where there is none; for bronze the age of its newest row.
    pub lag_seconds: Option<f64>,
    /// Event-time watermark, RFC 3339; `end` after the end of the input. For gold the end of the last closed window.
    pub watermark: Option<String>,
    /// The table's version.
    pub version: u64,
    /// Its data files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// How fast its newest commits were and what they cost.
    pub activity: Activity,
}

/// The tables of a pipeline that exist, opened for looking: each once, because a long log makes that dear.
pub(super) struct Tables<'a> {
    pub(super) bronze: Option<Reader>,
    pub(super) silver: Option<Reader>,
    pub(super) gold: Vec<(&'a Gold, Reader)>,
}

impl<'a> Tables<'a> {
    /// Opens them.
    pub(super) async fn open(lake: &Lake, pipeline: &'a Pipeline) -> Result<Self> {
        let name = &pipeline.name;
        let bronze = Reader::open(lake, &names::bronze_path(name), bronze::schema(), "seq").await?;
        let schema = silver_schema(&pipeline.silver)?;
        let silver = Reader::open(lake, &names::silver_path(name), schema, tables::SEQ).await?;
        let mut gold = Vec::new();
        for definition in &pipeline.gold {
            let schema = gold_schema(definition, &pipeline.silver)?;
            let path = names::gold_path(name, &definition.name);
            let table = Reader::open(lake, &path, schema, tables::SEQ).await?;
            gold.extend(table.map(|table| (definition, table)));
        }
        Ok(Self { bronze, silver, gold })
    }
}

/// The standing of the layers that exist, bronze first.
pub async fn of(lake: &Lake, pipeline: &Pipeline) -> Result<Vec<Standing>> {
    let tables = Tables::open(lake, pipeline).await?;
    of_tables(&tables, &pipeline.name, lake.clock().now()).await
}

/// The standing of layers whose tables are open, at `now`.
pub(super) async fn of_tables(tables: &Tables<'_>, name: &str, now: Micros) -> Result<Vec<Standing>> {
    let Some(bronze) = &tables.bronze else {
        return Ok(Vec::new());
    };
    let head = bronze.txn(&names::bronze_seq(name)).unwrap_or(0);
    let newest = taken_in(bronze, head - 1).await?;
    let mut standings = vec![Standing {
        lag_rows: None,
        lag_seconds: newest.map(|at| seconds(now - at)),
        ..standing("bronze", head, head, None, bronze).await?
    }];
    let Some(silver) = &tables.silver else {
        return Ok(standings);
    };
    let position = silver.txn(&names::silver_position(name)).unwrap_or(0);
    let watermark = silver.txn(&names::silver_watermark(name)).map(instant);
    standings.push(Standing {
        lag_seconds: Some(age(bronze, position, head, now).await?),
        ..standing("silver", position, head, watermark, silver).await?
    });
    for (definition, gold) in &tables.gold {
        let position = gold.txn(&names::gold_position(name, &definition.name)).unwrap_or(0);
        let closed = gold.txn(&names::gold_closed(name, &definition.name)).map(instant);
        standings.push(Standing {
            lag_seconds: Some(age(bronze, position, head, now).await?),
            ..standing(&definition.name, position, head, closed, gold).await?
        });
    }
    Ok(standings)
}

async fn standing(
    layer: &str,
    position: i64,
    head: i64,
    watermark: Option<String>,
    table: &Reader,
) -> Result<Standing> {
    Ok(Standing {
        layer: layer.to_owned(),
        position,
        lag_rows: Some(head - position),
        lag_seconds: None,
        watermark,
        version: table.version(),
        files: table.file_count(),
        bytes: table.bytes(),
        log_bytes: table.log_bytes().await?,
        activity: table.activity().await?,
    })
}

fn instant(micros: Micros) -> String {
    match rfc3339(micros) {
        // The end of the input, or of the last window before it.
        end if end.starts_with("9999-") => "end".to_owned(),
        instant => instant,
    }
}

fn seconds(micros: Micros) -> f64 {
    micros.max(0) as f64 / 1e6
}

/// Seconds since the row at `position` was taken in; 0 where nothing waits.
async fn age(bronze: &Reader, position: i64, head: i64, now: Micros) -> Result<f64> {
    if position >= head {
        return Ok(0.0);
    }
    Ok(taken_in(bronze, position).await?.map_or(0.0, |at| seconds(now - at)))
}

async fn taken_in(bronze: &Reader, seq: i64) -> Result<Option<Micros>> {
    let rows = bronze.read(seq, seq + 1, &["ingested_at".to_owned()]).await?;
    let column = rows
        .column_by_name("ingested_at")
        .and_then(|column| column.as_primitive_opt());
    Ok(column.and_then(|times: &arrow::array::PrimitiveArray<TimestampMicrosecondType>| times.iter().next().flatten()))
}
