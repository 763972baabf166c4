//! Every kind of payload that nobody wants, through the whole pipeline and against the reference model: alone in a
//! topic, and among sound events at the start, in the middle and at the end of a batch.

mod catalogue;

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use medallion::definition::{Pipeline, SourceKind, silver_schema};
use medallion::layer::{bronze, silver::rejects_schema};
use medallion::run::{Layer, Options, names};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tempfile::TempDir;

use crate::kafka::bed::{Bed, Mock};
use crate::kafka::views::{ONCE, ONCE_AND_CLOSE, Views};
use crate::model::generate::BASE;
use crate::model::silver::{Tables, silver};
use crate::model::view_log::{CAMPAIGNS, Settings};
use crate::model::{BronzeRow, Record, gold, tables, view_log};
use crate::support::tier::pick;

use catalogue::{Poison, catalogue, good};

/// Rows of a batch of every layer: poison at its start, in its middle and at its end, and sound events between.
const BATCH: usize = 7;
/// How many pipelines run at once.
const AT_ONCE: usize = 24;

/// The model's pipeline over the topics of a broker, with its reference data in a directory of its own.
struct Laboratory {
    mock: Mock,
    views: Views,
    producer: BaseProducer,
    _project: TempDir,
}

impl Laboratory {
    fn new() -> Self {
        let mock = Mock::start(1);
        let mut views = Views::new(&mock);
        let project = tempfile::tempdir().unwrap();
        let mut csv = "campaign_id,name,network_id\n".to_owned();
        for (campaign, network) in CAMPAIGNS {
            let network = network.map(|network| network.to_string()).unwrap_or_default();
            csv.push_str(&format!("{campaign},\"the, name\",{network}\n"));
        }
        std::fs::create_dir(project.path().join("data")).unwrap();
        std::fs::write(project.path().join("data/campaigns.csv"), csv).unwrap();
        views.project = project.path().to_owned();
        views.pipeline.silver = view_log::silver(&Settings::default());
        "the model's".clone_into(&mut views.pipeline.silver.fingerprint);
        // The broker keeps 5 MiB: large payloads are small on the wire.
        let producer = ClientConfig::new()
            .set("bootstrap.servers", mock.brokers())
            .set("message.max.bytes", "12000000")
            .set("compression.type", "zstd")
            .create()
            .unwrap();
        Self {
            mock,
            views,
            producer,
            _project: project,
        }
    }

    /// The pipeline over `topic`, which is made.
    fn pipeline(&self, name: &str, topic: &str) -> Pipeline {
        self.mock.broker().create_topic(topic, 1).unwrap();
        let mut pipeline = self.views.pipeline.clone();
        name.clone_into(&mut pipeline.name);
        if let SourceKind::Kafka(kafka) = &mut pipeline.bronze.source {
            topic.clone_into(&mut kafka.topic);
        }
        pipeline
    }

    /// Sends each value to its topic.
    fn send<'a>(&self, values: impl Iterator<Item = (&'a str, &'a Option<Vec<u8>>)>) {
        for (index, (topic, value)) in values.enumerate() {
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(0).timestamp(BASE / 1_000);
            record.payload = value.as_deref();
            record.key = [None, Some(&b""[..]), Some(b"\0\xff")][index % 3];
            record.headers = (index % 2 == 0).then(odd_headers);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(std::time::Duration::from_secs(30)).unwrap();
    }

    /// Bronze's rows, as the model has them.
    fn bronze(&self, pipeline: &Pipeline) -> Vec<BronzeRow> {
        let rows = self
            .views
            .rows(&names::bronze_path(&pipeline.name), bronze::schema(), "seq");
        let column = |name: &str| rows.column_by_name(name).unwrap();
        let values = column("value").as_binary::<i32>();
        let value = |row: usize| values.is_valid(row).then(|| values.value(row).to_vec());
        let timestamps = column("timestamp").as_primitive::<TimestampMicrosecondType>();
        let row = |row: usize| match column("kind").as_string::<i32>().value(row) {
            "tick" => BronzeRow::Tick(serde_json::from_slice(values.value(row)).unwrap()),
            _ => BronzeRow::Record(Record {
                topic: column("topic").as_string::<i32>().value(row).to_owned(),
                partition: column("partition").as_primitive::<Int32Type>().value(row),
                offset: column("offset").as_primitive::<Int64Type>().value(row),
                timestamp: timestamps.is_valid(row).then(|| timestamps.value(row)),
                value: value(row),
                ingested_at: column("ingested_at")
                    .as_primitive::<TimestampMicrosecondType>()
                    .value(row),
            }),
        };
        (0..rows.num_rows()).map(row).collect()
    }

    /// Asserts that bronze has what was sent and that silver and rejects are the model's, and returns each offset's
    /// fate.
    fn fates(&self, pipeline: &Pipeline, sent: &[Option<Vec<u8>>], what: &str) -> BTreeMap<i64, String> {
        let name = &pipeline.name;
        let rows = self.bronze(pipeline);
        let records = rows.iter().filter_map(|row| match row {
            BronzeRow::Record(record) => Some((record.offset, record.value.clone())),
            BronzeRow::Tick(_) => None,
        });
        let wanted: Vec<_> = (0..).zip(sent.iter().cloned()).collect();
        assert!(records.eq(wanted), "{what}: bronze is not what was sent");
        let model = silver(&rows, &Settings::default());
        let schema = silver_schema(&pipeline.silver).unwrap();
        let found = Tables {
            silver: tables::silver_rows(&self.views.rows(&names::silver_path(name), schema, "_seq")),
            rejects: tables::reject_rows(&self.views.rows(&names::rejects_path(name), rejects_schema(), "seq")),
            watermark: model.watermark,
        };
        assert!(found.silver == model.silver, "{what}: silver is not the model's");
        assert!(found.rejects == model.rejects, "{what}: rejects are not the model's");
        // An event of the year 2999 would close every window if it moved the watermark.
        let marks = found.silver.iter().filter_map(|row| row.watermark);
        assert!(
            marks.max().is_none_or(|mark| mark <= BASE + 3_600_000_000),
            "{what}: the watermark has run away"
        );
        let accepted = found.silver.iter().map(|row| (row.offset, "accepted".to_owned()));
        accepted
            .chain(found.rejects.iter().map(|row| (row.offset, row.reason.clone())))
            .collect()
    }
}

fn odd_headers() -> OwnedHeaders {
    let odd: [(&str, Option<&[u8]>); 4] = [
        ("", None),
        ("twice", Some(b"")),
        ("twice", Some(b"\0\xff")),
        ("\u{1}", Some(b"x")),
    ];
    let with = |headers: OwnedHeaders, (key, value)| headers.insert(Header { key, value });
    odd.into_iter().fold(OwnedHeaders::new(), with)
}

#[test]
fn each_poison_alone_in_a_topic_has_its_fate_and_harms_nobody() {
    let laboratory = Laboratory::new();
    // Each is among sound events in every tier; alone, the quick one has every third.
    let poisons: Vec<Poison> = catalogue(1).into_iter().step_by(pick(3, 1, 1)).collect();
    for (chunk, poisons) in poisons.chunks(AT_ONCE).enumerate() {
        let pipelines: Vec<Pipeline> = (0..poisons.len())
            .map(|index| laboratory.pipeline(&format!("alone_{chunk}_{index}"), &format!("alone-{chunk}-{index}")))
            .collect();
        let topics: Vec<String> = (0..poisons.len())
            .map(|index| format!("alone-{chunk}-{index}"))
            .collect();
        laboratory.send(
            topics
                .iter()
                .map(String::as_str)
                .zip(poisons.iter().map(|poison| &poison.value)),
        );
        laboratory.views.run_all(&pipelines, &ONCE_AND_CLOSE).unwrap();
        for (pipeline, poison) in pipelines.iter().zip(poisons) {
            let fates = laboratory.fates(pipeline, std::slice::from_ref(&poison.value), poison.name);
            assert_eq!(fates, BTreeMap::from([(0, poison.fate.to_owned())]), "{}", poison.name);
        }
    }
    println!("poison: {} kinds alone", poisons.len());
}

#[test]
fn each_poison_at_the_start_the_middle_and_the_end_of_a_batch_leaves_its_neighbours_alone() {
    let laboratory = Laboratory::new();
    let kinds = catalogue(0).len();
    // The first batch begins with the tick of the run.
    let mut sent: Vec<(Option<Vec<u8>>, &str, &str)> = Vec::new();
    let mut sound = (100_000..).map(|id| (Some(good(id).into_bytes()), "accepted", "sound"));
    sent.extend(sound.by_ref().take(BATCH - 1));
    for first in 0..kinds {
        for place in 0..BATCH {
            if place % 3 != 0 {
                sent.extend(sound.next());
                continue;
            }
            // Each kind comes to each place, each time with an id of its own.
            let id = u32::try_from(first * BATCH + place).unwrap() + 1;
            let poison = catalogue(id).swap_remove((first + place / 3) % kinds);
            sent.push((poison.value, poison.fate, poison.name));
        }
    }
    let values: Vec<Option<Vec<u8>>> = sent.iter().map(|(value, ..)| value.clone()).collect();
    let mut pipeline = laboratory.pipeline("among", "among");
    pipeline.bronze.commit.max_rows = BATCH;
    pipeline.bronze.commit.max_bytes = usize::MAX;
    pipeline.bronze.commit.max_delay = std::time::Duration::from_secs(60);
    pipeline.silver.commit.max_rows = BATCH;
    laboratory.send(values.iter().map(|value| ("among", value)));
    // One after the other, so that every layer's steps are those batches.
    for layer in [Layer::Bronze, Layer::Silver, Layer::Gold] {
        let options = Options {
            layer: Some(layer),
            ..ONCE
        };
        laboratory
            .views
            .run_all(std::slice::from_ref(&pipeline), &options)
            .unwrap();
    }
    let fates = laboratory.fates(&pipeline, &values, "among sound events");
    assert_eq!(fates.len(), sent.len());
    for (offset, (_, fate, name)) in (0..).zip(&sent) {
        assert_eq!(fates[&offset], *fate, "{name} at offset {offset}");
    }
    println!("poison: {kinds} kinds at 3 places of a batch, {} cases", kinds * 3);
}

#[test]
fn gold_over_poisoned_events_is_the_models() {
    let laboratory = Laboratory::new();
    let mut values = Vec::new();
    for (id, poison) in (1_u32..).zip(catalogue(0)) {
        values.push(Some(good(id).into_bytes()));
        values.push(poison.value);
    }
    let pipeline = laboratory.pipeline("gold", "gold");
    laboratory.send(values.iter().map(|value| ("gold", value)));
    laboratory
        .views
        .run_all(std::slice::from_ref(&pipeline), &ONCE_AND_CLOSE)
        .unwrap();
    let model = silver(&laboratory.bronze(&pipeline), &Settings::default());
    let (rows, late) = gold::gold(&model.silver, model.watermark);
    let counted: i64 = rows.iter().map(|row| i64::from(row.total_count)).sum();
    let number = |sql: &str| laboratory.views.number_of("gold", sql);
    assert_eq!(number("select count(*) from gold"), rows.len() as i64);
    assert_eq!(number("select sum(total_count) from gold"), counted);
    assert_eq!(number("select count(*) from late"), late.len() as i64);
    assert!(!late.is_empty(), "the far past is late");
    assert_eq!(counted + late.len() as i64, model.silver.len() as i64);
}
