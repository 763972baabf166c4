"""The Python peer: confluent-kafka in batches, msgspec for JSON, polars for the rest, deltalake for the tables.

What a team writes that wants it fast: typed decoding in C, everything after it in columns, one commit per table for
half a million records. It keeps the keys it has seen and the open windows in memory only, so a crash costs it a replay.
"""

import argparse
import datetime as dt
from typing import Annotated

import msgspec
import polars as pl
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from deltalake import WriterProperties, write_deltalake

BATCH = 10_000
COMMIT_ROWS = 500_000
DELAY = dt.timedelta(seconds=10)
INSTANT = pl.Datetime("us", "UTC")
WRITER = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=128 * 1024)
BRONZE = {
    "topic": pl.String, "partition": pl.Int32, "offset": pl.Int64, "timestamp": pl.Int64, "key": pl.Binary, "value": pl.Binary,
}  # fmt: skip


class View(msgspec.Struct, forbid_unknown_fields=True):
    view_id: Annotated[str, msgspec.Meta(min_length=1)]
    start_timestamp: str
    end_timestamp: str
    banner_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    campaign_id: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


DECODE = msgspec.json.Decoder(View).decode
VIEW = {
    "row": pl.UInt32, "view_id": pl.String, "start_timestamp": pl.String, "end_timestamp": pl.String, "banner_id": pl.Int64,
    "campaign_id": pl.Int64,
}  # fmt: skip


def instant(name):
    """`T` or a space; `Z`, an offset or nothing, which is UTC."""
    text = pl.col(name).str.replace(" ", "T", literal=True).str.replace("Z", "+00:00", literal=True)
    zoned = pl.when(text.str.len_bytes() == 26).then(text + "+00:00").otherwise(text)
    return zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.6f%:z", time_unit="us", time_zone="UTC", strict=False)


class Stack:
    def __init__(self, options):
        self.lake = options.lake
        self.networks = pl.read_csv(options.campaigns).select(
            pl.col("campaign_id").cast(pl.Int64), pl.col("network_id").cast(pl.Int32)
        )
        self.seen = set()
        self.windows = []
        self.marks = {}

    def write(self, table, rows, partition_by=None):
        if len(rows):
            write_deltalake(
                f"{self.lake}/{table}", rows.to_arrow(), mode="append", partition_by=partition_by, writer_properties=WRITER
            )

    def take(self, messages):
        rows = [(m.topic(), m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value()) for m in messages]
        bronze = pl.DataFrame(rows, schema=BRONZE, orient="row").with_columns(
            pl.from_epoch("timestamp", "ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
            ingest_date=pl.lit(dt.datetime.now(dt.UTC).date()),
        )
        self.write("bronze", bronze)
        views, flaws = self.decode(bronze["value"].to_list())
        accepted, rejects = self.judge(bronze, views, flaws)
        self.write("rejects", rejects)
        self.write("silver", accepted, ["event_date"])
        self.fold(accepted)
        self.close(self.watermark(accepted))

    def decode(self, payloads):
        views, flaws = [], []
        for row, payload in enumerate(payloads):
            try:
                view = DECODE(payload or b"")
                views.append((row, view.view_id, view.start_timestamp, view.end_timestamp, view.banner_id, view.campaign_id))
            except msgspec.ValidationError:
                flaws.append((row, "schema"))
            except (msgspec.DecodeError, UnicodeDecodeError):
                flaws.append((row, "malformed"))
        return (
            pl.DataFrame(views, schema=VIEW, orient="row"),
            pl.DataFrame(flaws, schema={"row": pl.UInt32, "reason": pl.String}, orient="row"),
        )

    def judge(self, bronze, views, flaws):
        start, end = pl.col("start_timestamp"), pl.col("end_timestamp")
        source = bronze.select("topic", "partition", "offset", "timestamp").with_row_index("row")
        views = (
            views.with_columns(instant("start_timestamp"), instant("end_timestamp"))
            .join(source, on="row", how="left", maintain_order="left")
            .join(self.networks, on="campaign_id", how="left", maintain_order="left")
        )
        views = views.with_columns(
            reason=pl.when(start.is_null() | end.is_null()).then(pl.lit("schema"))
            .when(pl.col("network_id").is_null()).then(pl.lit("lookup"))
            .when((end < start) | (end > start + pl.duration(days=1))).then(pl.lit("expectation"))
            .when(end > pl.col("timestamp") + pl.duration(hours=1)).then(pl.lit("event_time"))
        )  # fmt: skip
        fit = views.filter(pl.col("reason").is_null())
        fit = fit.with_columns(fresh=pl.Series([self.first(key) for key in fit["view_id"].to_list()], dtype=pl.Boolean))
        bad = pl.concat([flaws, views.filter(pl.col("reason").is_not_null()).select("row", "reason")])
        payloads = bronze.select("offset", "partition", "value").with_row_index("row")
        rejects = pl.concat(
            [
                bad.join(payloads, on="row").select("partition", "offset", "value", "reason"),
                fit.filter(~pl.col("fresh")).select(
                    "partition", "offset", pl.lit(None, pl.Binary).alias("value"), pl.lit("duplicate").alias("reason")
                ),
            ]
        )
        accepted = fit.filter("fresh").drop("row", "reason", "fresh", "topic").with_columns(
            pl.col("campaign_id").cast(pl.Int32), event_date=pl.col("end_timestamp").dt.date()
        )
        return accepted, rejects

    def first(self, key):
        before = len(self.seen)
        self.seen.add(key)
        return len(self.seen) > before

    def fold(self, accepted):
        self.windows.append(
            accepted.group_by("campaign_id", "network_id", pl.col("end_timestamp").dt.truncate("1m").alias("minute_timestamp"))
            .agg(pl.len().cast(pl.Int64).alias("n"), (pl.col("end_timestamp") - pl.col("start_timestamp")).dt.total_microseconds().sum().alias("us"))
        )  # fmt: skip

    def watermark(self, accepted):
        """The oldest of the partitions' newest events: one partition may be far behind another."""
        newest = accepted.group_by("partition").agg(pl.col("end_timestamp").max())
        for partition, time in newest.iter_rows():
            self.marks[partition] = max(time, self.marks.get(partition, time))
        return min(self.marks.values(), default=None)

    def close(self, watermark):
        """Writes the minutes that no event can fall into any more; without a watermark all of them."""
        keys = ["campaign_id", "network_id", "minute_timestamp"]
        windows = pl.concat(self.windows).group_by(keys).agg(pl.col("n").sum(), pl.col("us").sum())
        over = pl.lit(True)
        if watermark is not None:
            over = pl.col("minute_timestamp") + pl.duration(minutes=1) <= watermark - DELAY
        gold = windows.filter(over).select(
            *keys,
            avg_duration=pl.col("us").cast(pl.Float64) / (1e6 * pl.col("n")),
            total_count=pl.col("n").cast(pl.Int32),
        )
        self.write("gold", gold, ["network_id", "minute_timestamp"])
        self.windows = [windows.filter(~over)]


def records(options):
    """Lists of messages, up to where the topic ends now; a partition that has ended is no longer waited for."""
    consumer = Consumer({
        "bootstrap.servers": options.brokers, "group.id": "python", "enable.auto.commit": False,
        "queued.min.messages": 1_000_000, "queued.max.messages.kbytes": 131_072, "fetch.queue.backoff.ms": 2,
        "fetch.message.max.bytes": 4_194_304,
    })  # fmt: skip
    partitions = consumer.list_topics(options.topic).topics[options.topic].partitions
    left = 0
    for partition in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(options.topic, partition))
        left += high - low
    consumer.assign([TopicPartition(options.topic, partition, OFFSET_BEGINNING) for partition in partitions])
    batch = []
    while left:
        messages = consumer.consume(min(BATCH, left), timeout=1.0)
        left -= len(messages)
        batch += messages
        if len(batch) >= COMMIT_ROWS or (batch and not left):
            yield batch
            batch = []
    consumer.close()


def main():
    parser = argparse.ArgumentParser()
    for name in ("--brokers", "--topic", "--campaigns", "--lake"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    stack = Stack(options)
    for messages in records(options):
        stack.take(messages)
    stack.close(None)


if __name__ == "__main__":
    main()
